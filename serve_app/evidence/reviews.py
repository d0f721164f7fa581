"""Accuracy from reviews of kept images: which version is right, by whether the versions agree.

A rule keeps copied images with two probabilities, one for disagreements and one for agreements. An
estimate uses images of one inclusion probability only. If a rule change changed the probability,
the images with the most frequent one are used, and the others are excluded. Only the number of
reviews decides this, not their result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from serve_app.evidence.confidence import ALPHA, Rate, rate
from serve_app.evidence.paired import PairedComparison, compare_paired
from serve_app.evidence.shadow import estimate_hijack_rate
from serve_app.evidence.verdict import Finding, Verdict

OTHER, CANNOT_TELL = "other", "cannot_tell"  # answers beside the labels of the versions


@dataclass(frozen=True, slots=True)
class ReviewedImage:
    """A kept image with a review.

    Attributes:
        stable, candidate: The predicted labels.
        truth: The label of the review; None for "cannot tell".
        probability: With which the image was kept, above 0, at most 1.
    """

    stable: str
    candidate: str
    truth: str | None
    probability: float


@dataclass(frozen=True, slots=True)
class Disagreements:
    """Reviewed images with different labels of the two versions.

    Attributes:
        only_stable, only_candidate, both_wrong: Counts, by which version is right.
        cannot_tell: Images without a known true label; in no rate.
        excluded: Images with another inclusion probability; in none of these counts.
        probability: The inclusion probability of the images that are used; None without images.
        paired: Which version is right more often; None if neither is ever right alone.
        hijacks: Of the images on which the candidate predicts a new label, the share with a shared
            true label.
    """

    only_stable: int
    only_candidate: int
    both_wrong: int
    cannot_tell: int
    excluded: int
    probability: float | None
    paired: PairedComparison | None
    hijacks: Rate


@dataclass(frozen=True, slots=True)
class Agreements:
    """Reviewed images with the same label of both versions.

    Attributes:
        both_wrong: The share of images with a wrong label.
        cannot_tell, excluded, probability: As in `Disagreements`.
    """

    both_wrong: Rate
    cannot_tell: int
    excluded: int
    probability: float | None


def summarize_disagreements(
    reviews: Sequence[ReviewedImage], shared: Collection[str], alpha: float = ALPHA
) -> Disagreements:
    """Summarize the disagreements among the reviews.

    Args:
        shared: The labels that both versions have.
    """
    found = [review for review in reviews if review.stable != review.candidate]
    used, probability = _select_probability(found)
    known = [review for review in used if review.truth is not None]
    only_stable = sum(review.truth == review.stable for review in known)
    only_candidate = sum(review.truth == review.candidate for review in known)
    discordant = only_stable + only_candidate
    new = [review for review in known if review.candidate not in shared]
    return Disagreements(
        only_stable=only_stable,
        only_candidate=only_candidate,
        both_wrong=len(known) - discordant,
        cannot_tell=len(used) - len(known),
        excluded=len(found) - len(used),
        probability=probability,
        paired=compare_paired(only_stable, only_candidate, alpha) if discordant else None,
        hijacks=estimate_hijack_rate(
            len(new), sum(review.truth in shared for review in new), alpha
        ),
    )


def decide_disagreements(found: Disagreements) -> Verdict:
    """Which version is right where they disagree: `better` if it is the candidate.

    Always valid: `keep going` until the p of `paired` is below alpha.
    """
    if found.paired is None:
        return Verdict(
            Finding.NOT_KNOWN,
            "Not known which version is right: no reviewed image shows exactly one to be right.",
        )
    finding = {
        "candidate": Finding.BETTER,
        "stable": Finding.WORSE,
        None: Finding.KEEP_GOING,
    }[found.paired.better]
    return Verdict(
        finding,
        f"Of {found.only_stable + found.only_candidate:,} reviewed images on which exactly one"
        f" version is right, the candidate is right on {found.only_candidate:,}"
        f" (p = {found.paired.p:.2g}).",
    )


def summarize_agreements(reviews: Sequence[ReviewedImage], alpha: float = ALPHA) -> Agreements:
    """Summarize the agreements among the reviews."""
    found = [review for review in reviews if review.stable == review.candidate]
    used, probability = _select_probability(found)
    known = [review for review in used if review.truth is not None]
    wrong = sum(review.truth != review.stable for review in known)
    return Agreements(
        both_wrong=rate(wrong, len(known), alpha),
        cannot_tell=len(used) - len(known),
        excluded=len(found) - len(used),
        probability=probability,
    )


def _select_probability(
    reviews: Sequence[ReviewedImage],
) -> tuple[list[ReviewedImage], float | None]:
    """The images with the most frequent probability (the higher one of a tie), and its value."""
    counts = Counter(review.probability for review in reviews)
    most = max(counts, key=lambda probability: (counts[probability], probability), default=None)
    return [review for review in reviews if review.probability == most], most
