"""What people say of kept images: who is right where the versions disagree, and are they right
where they agree?

A copied image is kept with a probability that its rule gives to disagreements, and another that
it gives to agreements. Each estimate is of images that were drawn with one probability. Where a
rule has changed it, those count that were drawn with the one of most reviews, and the others are
left out: how many were reviewed decides, and never what they showed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from serve_app.evidence.confidence import ALPHA, Rate, rate
from serve_app.evidence.paired import Paired, paired
from serve_app.evidence.shadow import hijack_rate


@dataclass(frozen=True, slots=True)
class Reviewed:
    """An image that somebody has reviewed.

    Attributes:
        stable, candidate: The labels that they said.
        truth: What it shows; None where that cannot be told.
        probability: With which it was kept, above 0 to 1.
    """

    stable: str
    candidate: str
    truth: str | None
    probability: float


@dataclass(frozen=True, slots=True)
class Disagreements:
    """Reviewed images of which the versions said different labels.

    Attributes:
        only_stable, only_candidate, both_wrong: By who was right.
        cannot_tell: Those whose truth cannot be told; in no rate.
        left_out: Those that were drawn with another probability; in none of these counts.
        probability: With which the others were drawn; None if there is none.
        paired: Who is right more often; None as long as nobody was right alone.
        hijacks: Of those of which the candidate said a new label, the share that shows what both
            versions know.
    """

    only_stable: int
    only_candidate: int
    both_wrong: int
    cannot_tell: int
    left_out: int
    probability: float | None
    paired: Paired | None
    hijacks: Rate


@dataclass(frozen=True, slots=True)
class Agreements:
    """Reviewed images of which both versions said the same.

    Attributes:
        both_wrong: The share of which that was wrong.
        cannot_tell, left_out, probability: As in `Disagreements`.
    """

    both_wrong: Rate
    cannot_tell: int
    left_out: int
    probability: float | None


def disagreements(
    reviews: Sequence[Reviewed], shared: Collection[str], alpha: float = ALPHA
) -> Disagreements:
    """Judge them; agreements among the reviews are not looked at.

    Args:
        shared: The labels that both versions know.
    """
    found = [review for review in reviews if review.stable != review.candidate]
    alike, probability = _drawn_alike(found)
    told = [review for review in alike if review.truth is not None]
    only_stable = sum(review.truth == review.stable for review in told)
    only_candidate = sum(review.truth == review.candidate for review in told)
    new = [review for review in told if review.candidate not in shared]
    return Disagreements(
        only_stable=only_stable,
        only_candidate=only_candidate,
        both_wrong=len(told) - only_stable - only_candidate,
        cannot_tell=len(alike) - len(told),
        left_out=len(found) - len(alike),
        probability=probability,
        paired=paired(only_stable, only_candidate, alpha) if only_stable + only_candidate else None,
        hijacks=hijack_rate(len(new), sum(review.truth in shared for review in new), alpha),
    )


def agreements(reviews: Sequence[Reviewed], alpha: float = ALPHA) -> Agreements:
    """Judge them; disagreements among the reviews are not looked at."""
    found = [review for review in reviews if review.stable == review.candidate]
    alike, probability = _drawn_alike(found)
    told = [review for review in alike if review.truth is not None]
    wrong = sum(review.truth != review.stable for review in told)
    return Agreements(
        both_wrong=rate(wrong, len(told), alpha),
        cannot_tell=len(alike) - len(told),
        left_out=len(found) - len(alike),
        probability=probability,
    )


def _drawn_alike(reviews: Sequence[Reviewed]) -> tuple[list[Reviewed], float | None]:
    """Those of the most frequent probability, the higher one of two, and that probability."""
    counts = Counter(review.probability for review in reviews)
    most = max(counts, key=lambda probability: (counts[probability], probability), default=None)
    return [review for review in reviews if review.probability == most], most
