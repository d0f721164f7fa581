"""Metrics of a version on labelled images. Pure functions, except `predict`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from models.card import ForeignLabel, LabelScore, Metrics
from models.classifier import Classifier
from models.errors import BadData
from models.network import Floats
from models.samples import Sample

CALIBRATION_BINS = 15
CONFIDENCE_LEVEL = 0.95
BATCH = 16


def evaluate(classifier: Classifier, sample: Sample, data: str) -> Metrics:
    """Metrics of a version on a sample; `data` names the sample. See `compute_metrics`."""
    return compute_metrics(predict(classifier, sample), sample.truths, classifier.card.labels, data)


def predict(classifier: Classifier, sample: Sample) -> Floats:
    """Probabilities of each image, computed in batches of `BATCH`; float32 [n, labels]."""
    parts = [
        classifier.probabilities(sample.pixels[start : start + BATCH])
        for start in range(0, len(sample.pixels), BATCH)
    ]
    return np.concatenate(parts) if parts else classifier.probabilities(sample.pixels)


def compute_metrics(
    probabilities: Floats, truths: Sequence[str], labels: Sequence[str], data: str
) -> Metrics:
    """Metrics of predictions for images with known labels.

    Args:
        probabilities: [n, labels], rows sum to 1.
        truths: [n] true labels. Labels outside `labels` are foreign and counted separately.
        labels: The version's labels, in the order of the columns.

    Raises:
        BadData: No image has a label that the version knows.
    """
    known = np.array([truth in labels for truth in truths], dtype=bool)
    if not known.any():
        raise BadData(
            f"no image has a label that the version knows ({', '.join(labels)});"
            f" the data has {', '.join(sorted(set(truths))) or 'nothing'}"
        )
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    true = np.array([labels.index(t) for t in truths if t in labels])
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (true, predicted[known]), 1)
    scores = {label: _label_score(confusion, row) for row, label in enumerate(labels)}
    is_correct = predicted[known] == true
    return Metrics(
        data=data,
        images=len(true),
        accuracy=float(is_correct.mean()),
        accuracy_interval=wilson_interval(int(is_correct.sum()), len(is_correct)),
        macro_f1=float(np.mean([s.f1 for s in scores.values() if s.images])),
        calibration_error=calibration_error(confidence[known], is_correct),
        mean_confidence=float(confidence[known].mean()),
        labels=scores,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        foreign=_foreign_labels(predicted, confidence, truths, labels),
    )


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share, in 0 .. 1 (Wilson, JASA 1927); 0 .. 1 without trials."""
    if not trials:
        return 0.0, 1.0
    interval = binomtest(successes, trials).proportion_ci(CONFIDENCE_LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def calibration_error(confidence: Floats, is_correct: NDArray[np.bool_]) -> float:
    """Expected calibration error: mean of |accuracy - confidence| over `CALIBRATION_BINS` bins of
    equal width, weighted by their number of images (Naeini et al., AAAI 2015).

    Args:
        confidence: [n] probability of the predicted label, in (0, 1].
        is_correct: [n] whether the predicted label is the true one.
    """
    bins = np.ceil(confidence * CALIBRATION_BINS).clip(1, CALIBRATION_BINS).astype(int) - 1
    surplus = np.bincount(bins, weights=is_correct - confidence.astype(np.float64))
    return float(np.abs(surplus).sum() / len(confidence))


def _label_score(confusion: NDArray[np.int64], row: int) -> LabelScore:
    hits = int(confusion[row, row])
    images, predicted = int(confusion[row].sum()), int(confusion[:, row].sum())
    return LabelScore(
        images=images,
        recall=hits / images if images else None,
        recall_interval=wilson_interval(hits, images),
        precision=hits / predicted if predicted else None,
        f1=2 * hits / (images + predicted) if images + predicted else 0.0,
    )


def _foreign_labels(
    predicted: NDArray[np.intp], confidence: Floats, truths: Sequence[str], labels: Sequence[str]
) -> dict[str, ForeignLabel]:
    found: dict[str, ForeignLabel] = {}
    for truth in sorted(set(truths) - set(labels)):
        rows = np.array([t == truth for t in truths])
        counts = Counter(labels[int(column)] for column in predicted[rows])
        found[truth] = ForeignLabel(
            images=int(rows.sum()),
            answers={label: counts[label] for label in labels},
            mean_confidence=float(confidence[rows].mean()),
        )
    return found
