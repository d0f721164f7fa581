"""The sections of the shadow report on images whose true label is known."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from serve_app.evidence import reviews as estimates
from serve_app.evidence.accuracy import (
    Accuracy,
    Confusion,
    LabelledImages,
    count_confusion,
    estimate_accuracy,
)
from serve_app.evidence.confidence import Rate
from serve_app.evidence.reviews import CANNOT_TELL, ReviewedImage
from serve_app.evidence.verdict import Verdict
from serve_app.reports.parts import INLINE, Roles
from serve_app.store.kept_images import StoredImage
from serve_app.store.reviews import Review
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
        more_to_decide: None if the reviews have decided or will not.
        candidate_right: Of the images on which exactly one version is right, the share on which it
            is the candidate; None without such images, as `p`.
        p: Of the hypothesis that this share is one half; always valid.
        better: The version that is right more often, if p is below alpha.
    """

    only_stable: int
    only_candidate: int
    both_wrong: int
    cannot_tell: int
    repeated: int
    excluded: int
    probability: float | None
    candidate_right: Rate | None
    p: float | None
    better: Literal["stable", "candidate"] | None
    more_to_decide: int | None


@dataclass(frozen=True, slots=True)
class ReviewedAgreements:
    """Reviewed images with the same label; see `serve_app.evidence.reviews.Agreements`."""

    both_wrong: ReviewedRate
    cannot_tell: int
    repeated: int
    excluded: int
    probability: float | None


@dataclass(frozen=True, slots=True)
class AssessedReviews:
    """Review results.

    Attributes:
        waiting: Kept images without a review.
        hijack_rate: Of the images on which the candidate predicts a new label, the share with a
            shared true label.
        accuracy, confusion: Of all copied images; None unless agreements and disagreements are
            reviewed.
    """

    reviewed: int
    waiting: int
    disagreements: ReviewedDisagreements
    hijack_rate: ReviewedRate
    agreements: ReviewedAgreements
    accuracy: Roles[Accuracy] | None
    confusion: Roles[Confusion] | None


@dataclass(frozen=True, slots=True)
class ToldDisagreements:
    """Images with different labels whose true label users told.

    Attributes:
        only_stable, only_candidate, both_wrong: Counts, by which version is right.
    """

    only_stable: int
    only_candidate: int
    both_wrong: int


@dataclass(frozen=True, slots=True)
class AssessedTold:
    """Copied images whose true label users told. Users choose whether to tell, so it decides
    nothing.

    Attributes:
        images: Their number.
        unknown_labels: Images, not among these, for which users told a label that no version has.
    """

    images: int
    unknown_labels: int
    accuracy: Roles[Accuracy]
    confusion: Roles[Confusion]
    disagreements: ToldDisagreements


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
    reviewed = _reviewed(images)
    disagreements = estimates.summarize_disagreements(reviewed, shared)
    agreements = estimates.summarize_agreements(reviewed)
    test, labelled = disagreements.paired, estimates.label_images(reviewed)
    assessed = AssessedReviews(
        reviewed=len(reviewed),
        waiting=len(images) - len(reviewed),
        disagreements=ReviewedDisagreements(
            only_stable=disagreements.only_stable,
            only_candidate=disagreements.only_candidate,
            both_wrong=disagreements.both_wrong,
            cannot_tell=disagreements.cannot_tell,
            repeated=disagreements.repeated,
            excluded=disagreements.excluded,
            probability=disagreements.probability,
            candidate_right=test.share if test else None,
            p=test.p if test else None,
            better=test.better if test else None,
            more_to_decide=disagreements.more_to_decide,
        ),
        hijack_rate=ReviewedRate.of(disagreements.hijacks),
        agreements=ReviewedAgreements(
            both_wrong=ReviewedRate.of(agreements.both_wrong),
            cannot_tell=agreements.cannot_tell,
            repeated=agreements.repeated,
            excluded=agreements.excluded,
            probability=agreements.probability,
        ),
        accuracy=_accuracy(*labelled) if labelled else None,
        confusion=_confusion(*labelled) if labelled else None,
    )
    return assessed, estimates.decide_disagreements(disagreements)


def assess_told(store: Store, scope: Scope) -> AssessedTold:
    """Assess the copied images whose true label users told."""
    told = store.told_pairs(scope)
    is_unknown = told.true_label.equals("")
    pairs = told.select(~is_unknown)
    truth = pairs.true_label.texts()
    stable, candidate = (
        LabelledImages(
            unit=pairs.unit,
            predicted=label.texts(),
            truth=truth,
            weight=np.ones(len(truth)),
            images=pairs.images,
        )
        for label in (pairs.stable_label, pairs.candidate_label)
    )
    differs = stable.predicted != candidate.predicted
    right = differs & (stable.predicted == truth), differs & (candidate.predicted == truth)
    only_stable, only_candidate = (int(pairs.images[rows].sum()) for rows in right)
    return AssessedTold(
        images=int(pairs.images.sum()),
        unknown_labels=int(told.images[is_unknown].sum()),
        accuracy=_accuracy(stable, candidate),
        confusion=_confusion(stable, candidate),
        disagreements=ToldDisagreements(
            only_stable=only_stable,
            only_candidate=only_candidate,
            both_wrong=int(pairs.images[differs].sum()) - only_stable - only_candidate,
        ),
    )


def _reviewed(images: Collection[StoredImage]) -> list[ReviewedImage]:
    """The images with a review, in the order in which they came to count."""
    found = [(image, image.review) for image in images if image.review]
    return [
        ReviewedImage(
            stable=image.live_label,
            candidate=image.label,
            truth=None if review.answer == CANNOT_TELL else review.answer,
            probability=image.probability,
            unit=image.unit,
        )
        for image, review in sorted(found, key=_counted_from)
    ]


def _counted_from(found: tuple[StoredImage, Review]) -> tuple[int, int]:
    """When an image came to count. The image may be sent again, for another candidate, after its
    review."""
    image, review = found
    return max(image.at_ms, review.at_ms), review.number


def _accuracy(stable: LabelledImages, candidate: LabelledImages) -> Roles[Accuracy]:
    return Roles(estimate_accuracy(stable), estimate_accuracy(candidate))


def _confusion(stable: LabelledImages, candidate: LabelledImages) -> Roles[Confusion]:
    return Roles(count_confusion(stable), count_confusion(candidate))
