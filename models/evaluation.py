"""How well a version does on labelled images. Pure, but for `answers`, which asks the network."""

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
    """What a version answers on a sample; `data` names it. See `metrics`."""
    return metrics(answers(classifier, sample), sample.truths, classifier.card.labels, data)


def answers(classifier: Classifier, sample: Sample) -> Floats:
    """float32 [n, labels]: the probabilities of each image, a batch at a time."""
    parts = [
        classifier.probabilities(sample.pixels[start : start + BATCH])
        for start in range(0, len(sample.pixels), BATCH)
    ]
    return np.concatenate(parts) if parts else classifier.probabilities(sample.pixels)


def metrics(
    probabilities: Floats, truths: Sequence[str], labels: Sequence[str], data: str
) -> Metrics:
    """The metrics of answers to images whose truth is known.

    Args:
        probabilities: [n, labels], rows sum to 1.
        truths: [n]; those that are not in `labels` are foreign and counted apart.
        labels: The version's own, in the order of the columns.

    Raises:
        BadData: There is no image of a label that the version knows.
    """
    known = np.array([truth in labels for truth in truths], dtype=bool)
    if not known.any():
        raise BadData(
            f"no image is of a label that the version knows ({', '.join(labels)});"
            f" the data has {', '.join(sorted(set(truths))) or 'nothing'}"
        )
    given = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    meant = np.array([labels.index(t) for t in truths if t in labels])
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (meant, given[known]), 1)
    scores = {label: _label_score(confusion, row) for row, label in enumerate(labels)}
    right = given[known] == meant
    return Metrics(
        data=data,
        images=len(meant),
        accuracy=float(right.mean()),
        accuracy_interval=wilson_interval(int(right.sum()), len(right)),
        macro_f1=float(np.mean([s.f1 for s in scores.values() if s.images])),
        calibration_error=calibration_error(confidence[known], right),
        mean_confidence=float(confidence[known].mean()),
        labels=scores,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        foreign=_foreign(given, confidence, truths, labels),
    )


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share, within 0 .. 1 (Wilson, JASA 1927); 0 .. 1 for no trials."""
    if not trials:
        return 0.0, 1.0
    interval = binomtest(successes, trials).proportion_ci(CONFIDENCE_LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Expected calibration error: |accuracy - confidence| averaged over the images of
    `CALIBRATION_BINS` bins of equal width (Naeini et al., AAAI 2015).

    Args:
        confidence: [n], of the label that was given, in (0, 1].
        right: [n], whether it was the true one.
    """
    bins = np.ceil(confidence * CALIBRATION_BINS).clip(1, CALIBRATION_BINS).astype(int) - 1
    surplus = np.bincount(bins, weights=right - confidence.astype(np.float64))
    return float(np.abs(surplus).sum() / len(confidence))


def _label_score(confusion: NDArray[np.int64], row: int) -> LabelScore:
    hits = int(confusion[row, row])
    images, given = int(confusion[row].sum()), int(confusion[:, row].sum())
    return LabelScore(
        images=images,
        recall=hits / images if images else None,
        recall_interval=wilson_interval(hits, images),
        precision=hits / given if given else None,
        f1=2 * hits / (images + given) if images + given else 0.0,
    )


def _foreign(
    given: NDArray[np.intp], confidence: Floats, truths: Sequence[str], labels: Sequence[str]
) -> dict[str, ForeignLabel]:
    found: dict[str, ForeignLabel] = {}
    for truth in sorted(set(truths) - set(labels)):
        rows = np.array([t == truth for t in truths])
        counts = Counter(labels[int(answer)] for answer in given[rows])
        found[truth] = ForeignLabel(
            images=int(rows.sum()),
            answers={label: counts[label] for label in labels},
            mean_confidence=float(confidence[rows].mean()),
        )
    return found
