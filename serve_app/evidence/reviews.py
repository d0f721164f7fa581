"""Accuracy from reviews of kept images: which version is right, by whether the versions agree.

A rule keeps copied images with two probabilities, one for disagreements and one for agreements. A
share of disagreements or of agreements uses images of one inclusion probability only. If a rule
change changed the probability, the images with the most frequent one are used, and the others are
excluded. Only the number of reviews decides this, not their result.

Images of a unit resemble one another, so a unit has one vote: its first reviewed image. Reviewers
see images in random order, and a review is never changed. So the vote is a random image of the
unit, what its review says does not decide whether it counts, and a vote that is counted stays.
Always valid tests remain valid.

The accuracy of a version uses all reviewed images, each with the weight 1 / probability.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.evidence.accuracy import LabelledImages
from serve_app.evidence.clusters import NO_UNIT
from serve_app.evidence.confidence import ALPHA, Rate, rate
from serve_app.evidence.paired import PairedComparison, compare_paired, discordant_to_decide
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
        unit: See `clusters`; 0 for none.
    """

    stable: str
    candidate: str
    truth: str | None
    probability: float
    unit: int


@dataclass(frozen=True, slots=True)
class Disagreements:
    """Reviewed images with different labels of the two versions, one of each unit.

    Attributes:
        only_stable, only_candidate, both_wrong: Counts, by which version is right.
        cannot_tell: Images without a known true label; in no rate.
        repeated: Further images of a unit; in none of these counts.
        excluded: Images with another inclusion probability; in none of these counts.
        probability: The inclusion probability of the images that are used; None without images.
        paired: Which version is right more often; None if neither is ever right alone.
        more_to_decide: About how many more images decide, one a unit, if the shares stay; None if
            `paired` has decided or no number decides.
        hijacks: Of the images on which the candidate predicts a new label, one of each unit, the
            share with a shared true label.
    """

    only_stable: int
    only_candidate: int
    both_wrong: int
    cannot_tell: int
    repeated: int
    excluded: int
    probability: float | None
    paired: PairedComparison | None
    more_to_decide: int | None
    hijacks: Rate


@dataclass(frozen=True, slots=True)
class Agreements:
    """Reviewed images with the same label of both versions, one of each unit.

    Attributes:
        both_wrong: The share of images with a wrong label.
        cannot_tell, repeated, excluded, probability: As in `Disagreements`.
    """

    both_wrong: Rate
    cannot_tell: int
    repeated: int
    excluded: int
    probability: float | None


def summarize_disagreements(
    reviews: Sequence[ReviewedImage], shared: Collection[str], alpha: float = ALPHA
) -> Disagreements:
    """Summarize the disagreements among the reviews.

    Args:
        reviews: In the order in which they came to count.
        shared: The labels that both versions have.
    """
    found = [review for review in reviews if review.stable != review.candidate]
    used, probability = _select_probability(found)
    votes = _first_of_units(used)
    known = _known(votes)
    only_stable = sum(review.truth == review.stable for review in known)
    only_candidate = sum(review.truth == review.candidate for review in known)
    discordant = only_stable + only_candidate
    paired = compare_paired(only_stable, only_candidate, alpha) if discordant else None
    new = _known(_first_of_units([review for review in used if review.candidate not in shared]))
    return Disagreements(
        only_stable=only_stable,
        only_candidate=only_candidate,
        both_wrong=len(known) - discordant,
        cannot_tell=len(votes) - len(known),
        repeated=len(used) - len(votes),
        excluded=len(found) - len(used),
        probability=probability,
        paired=paired,
        more_to_decide=_more_to_decide(paired, len(votes), alpha) if paired else None,
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
    outlook = f"; {_outlook(found.more_to_decide)}" if found.paired.better is None else ""
    return Verdict(
        finding,
        f"Of {found.only_stable + found.only_candidate:,} reviewed images, one a unit, on which"
        f" exactly one version is right, the candidate is right on {found.only_candidate:,}"
        f" (p = {found.paired.p:.2g}){outlook}.",
    )


def summarize_agreements(reviews: Sequence[ReviewedImage], alpha: float = ALPHA) -> Agreements:
    """Summarize the agreements among the reviews.

    Args:
        reviews: In the order in which they came to count.
    """
    found = [review for review in reviews if review.stable == review.candidate]
    used, probability = _select_probability(found)
    votes = _first_of_units(used)
    known = _known(votes)
    wrong = sum(review.truth != review.stable for review in known)
    return Agreements(
        both_wrong=rate(wrong, len(known), alpha),
        cannot_tell=len(votes) - len(known),
        repeated=len(used) - len(votes),
        excluded=len(found) - len(used),
        probability=probability,
    )


def label_images(
    reviews: Sequence[ReviewedImage],
) -> tuple[LabelledImages, LabelledImages] | None:
    """The predictions of stable and of the candidate, as a sample of all copied images.

    Returns:
        None if no agreement or no disagreement has a known true label: the reviews then say nothing
        about one of these kinds.
    """
    known = _known(reviews)
    if len({review.stable == review.candidate for review in known}) < 2:
        return None

    def labelled(predicted: Sequence[str]) -> LabelledImages:
        return LabelledImages(
            unit=np.array([review.unit for review in known], np.int64),
            predicted=np.array(predicted, np.str_),
            truth=np.array([review.truth for review in known], np.str_),
            weight=np.array([1 / review.probability for review in known]),
            images=np.ones(len(known)),
        )

    return (
        labelled([review.stable for review in known]),
        labelled([review.candidate for review in known]),
    )


def _select_probability(
    reviews: Sequence[ReviewedImage],
) -> tuple[list[ReviewedImage], float | None]:
    """The images with the most frequent probability (the higher one of a tie), and its value."""
    counts = Counter(review.probability for review in reviews)
    most = max(counts, key=lambda probability: (counts[probability], probability), default=None)
    return [review for review in reviews if review.probability == most], most


def _first_of_units(reviews: Sequence[ReviewedImage]) -> list[ReviewedImage]:
    """The first image of each unit, and all images without a unit."""
    seen: set[int] = set()
    first = []
    for review in reviews:
        if review.unit == NO_UNIT or review.unit not in seen:
            first.append(review)
        seen.add(review.unit)
    return first


def _known(reviews: Sequence[ReviewedImage]) -> list[ReviewedImage]:
    return [review for review in reviews if review.truth is not None]


def _more_to_decide(paired: PairedComparison, votes: int, alpha: float) -> int | None:
    """See `Disagreements`; of the votes, a share is discordant."""
    discordant, estimate = paired.share.trials, paired.share.estimate
    if paired.better or estimate is None:
        return None
    needed = discordant_to_decide(estimate, alpha)
    if needed is None:
        return None
    return max(1, math.ceil((needed - discordant) * votes / discordant))


def _outlook(more: int | None) -> str:
    if more is None:
        return "at this share, about one half, reviews do not decide it"
    rounded = int(float(f"{more:.2g}"))
    return f"about {rounded:,} more reviewed disagreements of other units decide it at this share"
