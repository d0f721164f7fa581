"""What the lines of a report mean, for `report NAME --explain`."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape

Explanation = tuple[tuple[str, str], ...]  # a word or a line of a report -> what it means

ASSIGNMENT: Explanation = (
    ("unit", "Who is assigned a version: a user, a session, or each request by itself."),
    ("exposure", "One image that was answered, or that failed."),
    (
        "epoch",
        (
            "A time with one rule in force. A change of the weight begins an epoch of the same"
            " experiment."
        ),
    ),
    (
        "bucket",
        (
            "A number from 0 to 1 that is the unit's own in an experiment. Units with a bucket"
            " below the weight get the new version, so a larger weight moves no unit back."
        ),
    ),
    (
        "reason",
        (
            "Why a request got its version. split: by the bucket of its unit; only these are"
            " compared. not_targeted: another region. no_unit: the request names no user or"
            " session. not_ready: the new version had not started. tagged, pinned: a header chose."
            " static: the rule assigns all requests alike."
        ),
    ),
    ("fallback", "The assigned version failed, and stable answered. It counts as a failure."),
    (
        "SRM",
        (
            "Sample ratio mismatch: the versions have not the units that the weight promises, so"
            " units were lost or counted twice, and no comparison is valid."
        ),
    ),
)

COMPARISON: Explanation = (
    (
        "settled",
        (
            "A unit counts once, by what happened to it in the time after its first assignment"
            " that the rule's `settle` gives, and only when this time is over. Else users who"
            " leave, or who are new, would favour one version."
        ),
    ),
    (
        "left out",
        (
            "A change of the weight moved these units to the other version before they were"
            " settled, so they count for neither."
        ),
    ),
    (
        "95 % always valid",
        (
            "Contains the true difference with a probability of 95 % at all looks together."
            " Verdicts read this one, so look as often as you like."
        ),
    ),
    (
        "95 % single look",
        (
            "Holds for one look at a time that was chosen in advance. It is narrower; do not stop"
            " by it."
        ),
    ),
    (
        "tolerance",
        "The smallest difference that matters, from the rule. It decides `no difference`.",
    ),
    (
        "finding",
        (
            "worse, better: the always valid interval excludes 0. no difference: it lies within"
            " the tolerance. keep going: neither yet. not known: nothing to compare."
        ),
    ),
    ("points", "Percentage points: from 3 % to 5 % is +2 points."),
)


def show(out: Console, explanation: Iterable[tuple[str, str]]) -> None:
    """Print what each line means."""
    out.print("\n[bold]What the lines mean[/bold]")
    for name, meaning in explanation:
        out.print(f"[bold]{escape(name)}[/bold]: {escape(meaning)}")
