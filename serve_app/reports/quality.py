"""What the versions of a split got right, by the labels that users told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from serve_app.evidence.accuracy import (
    Confusion,
    LabelledImages,
    count_confusion,
    estimate_accuracy,
)
from serve_app.evidence.confidence import Rate
from serve_app.reports.experiment import Experiment
from serve_app.rules.plan import Reason
from serve_app.store.columns import Categorical
from serve_app.store.labelled_feedback import LabelledFeedback

# The true label, if users only said that the prediction is wrong, or told what no version predicts.
ANOTHER = "another label"


@dataclass(frozen=True, slots=True)
class VersionQuality:
    """The predictions that a version made itself and that users called right or wrong.

    Attributes:
        predictions: Their number.
        accuracy: The share of right ones.
        recall: The same by true label.
        confusion: True label -> predicted label -> predictions.
    """

    version: str
    predictions: int
    accuracy: Rate
    recall: Mapping[str, Rate]
    confusion: Confusion


@dataclass(frozen=True, slots=True)
class Quality:
    """The accuracy of both versions. Users choose whether to tell, so it decides nothing.

    Attributes:
        unknown_labels: Predictions for which users told a label that no version has. It is no
            truth: it may be a slip of the pen, or a new class.
    """

    versions: tuple[VersionQuality, ...]
    unknown_labels: int


def assess_quality(split: Experiment, feedback: LabelledFeedback) -> Quality:
    """The accuracy by version.

    Args:
        feedback: On predictions of the experiment.
    """
    is_split = feedback.reason.equals(Reason.SPLIT)
    is_told = is_split & (feedback.correct >= 0)
    return Quality(
        tuple(
            _version_quality(
                version,
                feedback.select(
                    is_told & feedback.assigned.equals(version) & feedback.served.equals(version)
                ),
            )
            for version in (split.control, split.treatment)
        ),
        unknown_labels=int((is_split & feedback.has_unknown_label).sum()),
    )


def _version_quality(version: str, told: LabelledFeedback) -> VersionQuality:
    predicted = told.predicted_label.texts()
    reported = told.reported_label
    known = {"", *told.predicted_label.categories}
    names = tuple(name if name in known else ANOTHER for name in reported.categories)
    unreported = np.where(told.correct == 1, predicted, ANOTHER)
    truth = np.where(reported.equals(""), unreported, Categorical(reported.codes, names).texts())
    each = np.ones(len(predicted))
    images = LabelledImages(told.unit, predicted, truth, each, each)
    accuracy = estimate_accuracy(images)
    return VersionQuality(
        version,
        len(each),
        accuracy.rate,
        {label: rate for label, rate in accuracy.recall.items() if label != ANOTHER},
        count_confusion(images),
    )
