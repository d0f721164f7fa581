"""`report ab` as text."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from serve_app.cli.report import quality, text
from serve_app.cli.report.explain import ASSIGNMENT, COMPARISON, Explanation
from serve_app.durations import duration_ms

MUCH_LATE = 0.05  # of the feedback

EXPLAIN: Explanation = (
    *ASSIGNMENT,
    *COMPARISON,
    (
        "settled, in an A/B test",
        (
            "Also the window of the outcome must be over: until then, feedback may still come."
            " Feedback counts if it is about an answer that the unit got before it was settled."
        ),
    ),
    (
        "units with a complaint",
        (
            "The share of all settled units that complained at least once. A unit that says"
            " nothing has not complained; so there is no verdict before ten units have said"
            " something."
        ),
    ),
    (
        "shared labels, new labels",
        (
            "Shared: the image shows what both versions know, or neither. New: a label that"
            " only the treatment knows. Only feedback tells what an image shows."
        ),
    ),
    (
        "without a label",
        (
            "A complaint that does not say what the image shows may belong to either group."
            " Among those with a label, the group has certain odds; those of the others are"
            " taken to be between half and double of that, in each version. The interval covers"
            " all of it."
        ),
    ),
    (
        "shared labels alone are not decided",
        (
            "So many labels are missing that no number of units decides by label. Then all"
            " complaints together decide."
        ),
    ),
    (
        "SRM, feedback",
        (
            "Whether the versions get feedback from the same share of units. For complaints it"
            " is a result. A test by `correct` keeps going with a mismatch."
        ),
    ),
    (
        "mean share, mean rating",
        (
            "Of the units that gave feedback. They are not a random part of all, so this"
            " decides nothing."
        ),
    ),
    (
        "hijack rate",
        ("Of the predictions of a new label whose true label is known, those of a shared one."),
    ),
)


def show(out: Console, report: dict[str, Any]) -> None:
    """Print the report."""
    text.print_header(out, report, "A/B test")
    text.print_verdict(out, report)
    if report["shared_labels"] and report["finding"] != "not known":
        for key in ("shared_labels", "new_labels"):
            out.print(escape(report[key]["sentence"]))
        out.print()
    text.print_experiment(out, report)
    text.print_end(out, report)
    text.print_settling(out, report)
    _print_feedback(out, report)
    text.print_srm(out, report, report["srm"], "units")
    if any(report["settling"]["settled"].values()):
        _print_comparisons(out, report)
    quality.show(out, report)
    overall = report["overall"]
    text.print_slices(out, report, overall["measure"], overall["tolerance"], overall["unit"])


def _print_feedback(out: Console, report: dict[str, Any]) -> None:
    feedback, window = report["feedback"], report["outcome"]["window"]
    settle_ms = report["settling"]["settle_ms"] - duration_ms(window)
    of_first = f" in their first {text.duration(settle_ms)}" if settle_ms else ""
    timely = feedback["eligible"] - feedback["late"]
    line = f"feedback within {window} on {timely:,} answers to settled {report['unit']}s{of_first}"
    for kind, where in (
        ("late", "later on {:,}"),
        ("early", "on {:,} answers to younger ones"),
        ("ineligible", "on {:,} other answers"),
    ):
        if feedback[kind]:
            line += f"; {where.format(feedback[kind])}"
    out.print(line)
    if feedback["late"] > MUCH_LATE * feedback["eligible"]:
        out.print(
            "[yellow]Much feedback comes after the window. If users of one version take longer,"
            " this favours it: use a longer window[/yellow]"
        )


def _print_comparisons(out: Console, report: dict[str, Any]) -> None:
    overall, unit = report["overall"], report["overall"]["unit"]
    text.print_srm(
        out, report, report["feedback_srm"], "feedback", mismatch="response rates differ"
    )
    coverage = report["responders"]["coverage"]
    shares = ", ".join(f"{text.percent(coverage[arm])} of {arm}" for arm in report["arms"])
    out.print(f"gave feedback: {shares}\n")
    out.print(text.comparison_table(report, _rows(report), unit))
    if overall["units_needed"] is not None:
        effect = text.difference(overall["detectable_effect"], unit).lstrip("+")
        limit = text.difference(overall["tolerance"], unit).lstrip("+")
        out.print(
            f"found with a probability of 80 %: a difference of {effect} now;"
            f" {limit} with {overall['units_needed']:,} units"
        )
    hijacks = report["hijack_rate"]
    if hijacks["predictions"]:
        labels = report["labels"]
        out.print(
            f"hijack rate (predicted {_names(labels['new'])}, true label"
            f" {_names(labels['shared'])}): {text.percent(hijacks['estimate'])} of"
            f" {hijacks['predictions']:,} with feedback (complaints are over-represented)"
        )


def _rows(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The name and the comparison of each row."""
    overall, labels = report["overall"], report["labels"]
    rows = [(overall["measure"], overall)]
    for key, name in (
        ("shared_labels", f"known to show {_names(labels['shared'])}"),
        ("new_labels", f"known to show {_names(labels['new'])}"),
        ("unknown_truth", "not known what it shows"),
    ):
        if report[key]:
            rows.append((f"  {name}", report[key]))
    responders = report["responders"]
    rows.append((responders["measure"], responders["mean"]))
    return rows


def _names(labels: list[str]) -> str:
    return " or ".join(labels)
