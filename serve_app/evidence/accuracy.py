"""How often the predictions of one version are right, and what it takes for what.

The images may be a sample with known probabilities. Each is then weighted by the inverse of its
probability (Horvitz, Thompson, JASA 1952).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from serve_app.evidence.clusters import design_effect
from serve_app.evidence.confidence import ALPHA, Rate, bonferroni, weighted_rate
from serve_app.evidence.units import Floats, Ints, Rows, Texts, check_columns, sum_by_code

Confusion = Mapping[str, Mapping[str, float]]  # true label -> predicted label -> weighted images


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages(Rows):
    """Predictions of one version on images with a known true label; columns of length n.

    Attributes:
        unit: int64, see `clusters`; 0 for none.
        predicted, truth: str, the labels.
        weight: float64, of each image of a row, above 0; 1 / the probability of an image in a
            sample.
        images: float64, 0 or more.

    Raises:
        ValueError: The columns differ in length.
    """

    unit: Ints
    predicted: Texts
    truth: Texts
    weight: Floats
    images: Floats

    def __post_init__(self) -> None:
        check_columns(
            unit=self.unit,
            predicted=self.predicted,
            truth=self.truth,
            weight=self.weight,
            images=self.images,
        )


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Attributes:
    images: Those with a known true label, unweighted.
    rate: The weighted share with a right prediction.
    recall: The same by true label, with simultaneous intervals (Bonferroni).
    """

    images: float
    rate: Rate
    recall: Mapping[str, Rate]


def estimate_accuracy(found: LabelledImages, alpha: float = ALPHA) -> Accuracy:
    """The weighted share of right predictions, with an always valid interval.

    See `confidence.weighted_rate`. The interval is approximate, and wider than necessary if
    outcomes differ between weights.
    """
    labels = np.unique(found.truth).tolist()
    each = bonferroni(alpha, len(labels)) if labels else alpha
    return Accuracy(
        float(found.images.sum()),
        _right(found, alpha),
        {label: _right(found.select(found.truth == label), each) for label in labels},
    )


def count_confusion(found: LabelledImages) -> Confusion:
    """The weighted images by true label and predicted label, both sorted; no pair without images.

    The weighted number estimates that of all images.
    """
    confusion: dict[str, dict[str, float]] = {}
    for truth in np.unique(found.truth).tolist():
        row = found.select(found.truth == truth)
        predicted, column = np.unique(row.predicted, return_inverse=True)
        images = sum_by_code(column, row.images * row.weight, len(predicted))
        confusion[truth] = dict(zip(predicted.tolist(), images.tolist(), strict=True))
    return confusion


def _right(found: LabelledImages, alpha: float) -> Rate:
    is_right = found.predicted == found.truth
    effect = design_effect(found.unit, found.images, found.images * is_right)
    return weighted_rate(found.images, found.weight, is_right, effect, alpha)
