"""The section of the shadow report on reviewed images."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from serve_app.evidence import reviews as estimates
from serve_app.evidence.confidence import Rate
from serve_app.evidence.reviews import CANNOT_TELL, ReviewedImage
from serve_app.evidence.verdict import Verdict
from serve_app.reports.parts import INLINE
from serve_app.store.scope import Scope
from serve_app.store.store import Store


@dataclass(frozen=True, slots=True)
class ReviewedRate:
    """A share of reviewed images; `reviewed` is their number."""

    rate: Rate = field(metadata=INLINE)
    reviewed: int

    @classmethod
    def of(cls, rate: Rate) -> ReviewedRate:
        return cls(rate, int(rate.trials))


@dataclass(frozen=True, slots=True)
class ReviewedDisagreements:
    """Reviewed images with different labels; see `serve_app.evidence.reviews.Disagreements`.

    Attributes:
        candidate_right: Of the images on which exactly one version is right, the share on which it
            is the candidate; None without such images, as `p`.
        p: Of the hypothesis that this share is one half; always valid.
        better: The version that is right more often, if p is below alpha.
    """

    only_stable: int
    only_candidate: int
    both_wrong: int
    cannot_tell: int
    excluded: int
    probability: float | None
    candidate_right: Rate | None
    p: float | None
    better: Literal["stable", "candidate"] | None


@dataclass(frozen=True, slots=True)
class ReviewedAgreements:
    """Reviewed images with the same label; see `serve_app.evidence.reviews.Agreements`."""

    both_wrong: ReviewedRate
    cannot_tell: int
    excluded: int
    probability: float | None


@dataclass(frozen=True, slots=True)
class AssessedReviews:
    """Review results.

    Attributes:
        waiting: Kept images without a review.
        hijack_rate: Of the images on which the candidate predicts a new label, the share with a
            shared true label.
    """

    reviewed: int
    waiting: int
    disagreements: ReviewedDisagreements
    hijack_rate: ReviewedRate
    agreements: ReviewedAgreements


def assess(
    store: Store, scope: Scope, stable: str, candidate: str, shared: Collection[str]
) -> tuple[AssessedReviews, Verdict]:
    """Assess the reviews of the kept images of these two versions.

    Args:
        shared: The labels that both versions know.

    Returns:
        The reviews, and the verdict on which version is right.
    """
    images = [
        image
        for image in store.kept_images(scope)
        if (image.stable, image.candidate) == (stable, candidate)
    ]
    reviewed = [
        ReviewedImage(
            stable=image.live_label,
            candidate=image.label,
            truth=None if image.review.answer == CANNOT_TELL else image.review.answer,
            probability=image.probability,
        )
        for image in images
        if image.review
    ]
    disagreements = estimates.summarize_disagreements(reviewed, shared)
    agreements = estimates.summarize_agreements(reviewed)
    test = disagreements.paired
    assessed = AssessedReviews(
        reviewed=len(reviewed),
        waiting=len(images) - len(reviewed),
        disagreements=ReviewedDisagreements(
            only_stable=disagreements.only_stable,
            only_candidate=disagreements.only_candidate,
            both_wrong=disagreements.both_wrong,
            cannot_tell=disagreements.cannot_tell,
            excluded=disagreements.excluded,
            probability=disagreements.probability,
            candidate_right=test.share if test else None,
            p=test.p if test else None,
            better=test.better if test else None,
        ),
        hijack_rate=ReviewedRate.of(disagreements.hijacks),
        agreements=ReviewedAgreements(
            both_wrong=ReviewedRate.of(agreements.both_wrong),
            cannot_tell=agreements.cannot_tell,
            excluded=agreements.excluded,
            probability=agreements.probability,
        ),
    )
    return assessed, estimates.decide_disagreements(disagreements)
