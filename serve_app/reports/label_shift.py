"""What the versions of a split predict, and how surely."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from serve_app.evidence.label_mix import LabelCount, LabelMix
from serve_app.reports.experiment import Experiment
from serve_app.reports.parts import INLINE, DriftCheck, KnownLabels
from serve_app.rules.plan import Reason
from serve_app.store.exposure_sums import ExposureSum

LARGE_FALL = 0.10  # of the mean confidence; a fall below this gives no warning
MIN_PREDICTIONS = 50  # of each version, for a warning


@dataclass(frozen=True, slots=True)
class PredictedLabels:
    """The labels that each version predicted itself.

    Attributes:
        counts: Version -> label -> predictions, in hours in which both versions served.
        shares: Version -> label -> share of these, with control's hours weighted to the
            treatment's numbers.
        labels: Those that both versions know, and those that only treatment knows.
        drift: Between the versions, on shared labels.
        all_labels: The same on all labels.
    """

    counts: Mapping[str, Mapping[str, int]]
    shares: Mapping[str, Mapping[str, float]]
    labels: KnownLabels = field(metadata=INLINE)
    drift: DriftCheck = field(metadata=INLINE)
    all_labels: DriftCheck


@dataclass(frozen=True, slots=True)
class ConfidenceShift:
    """Mean confidences, 0 to 1, over the same hours; nan without predictions."""

    control: float
    treatment: float
    difference: float


@dataclass(frozen=True, slots=True)
class LabelShift:
    """How the predictions of the versions differ.

    Attributes:
        warnings: Sentences on differences that are no improvement in themselves.
    """

    classes: PredictedLabels
    confidence: ConfidenceShift
    warnings: tuple[str, ...]


def find_label_shift(
    split: Experiment, sums: Iterable[ExposureSum], known: KnownLabels, images_per_unit: float
) -> LabelShift:
    """Compare the predictions.

    Args:
        sums: By epoch, hour, version, reason, `served_as_assigned` and label.
        images_per_unit: See `serve_app.evidence.clusters.images_per_unit`.
    """
    mix = LabelMix.from_counts(_label_counts(split, sums))
    versions = (split.control, split.treatment)
    classes = PredictedLabels(
        counts={version: mix.label_counts(arm) for arm, version in enumerate(versions)},
        shares={version: mix.label_shares(arm) for arm, version in enumerate(versions)},
        labels=known,
        drift=DriftCheck.of(mix.drift(known.shared, images_per_unit)),
        all_labels=DriftCheck.of(mix.drift(mix.labels, images_per_unit)),
    )
    means = [mix.mean_confidence(arm) for arm in (0, 1)]
    confidence = ConfidenceShift(means[0], means[1], means[1] - means[0])
    return LabelShift(classes, confidence, tuple(_warnings(split, classes, confidence)))


def _label_counts(split: Experiment, sums: Iterable[ExposureSum]) -> Iterator[LabelCount]:
    """The predictions of versions that served their assigned requests themselves."""
    arms = {split.control: 0, split.treatment: 1}
    for row in sums:
        is_own = row.reason == Reason.SPLIT and row.served_as_assigned
        if is_own and row.label and row.assigned in arms:
            yield LabelCount(
                (row.epoch or 0, row.at_ms or 0),
                arms[row.assigned],
                row.label,
                row.exposures,
                row.confidence_sum,
            )


def _warnings(
    split: Experiment, classes: PredictedLabels, confidence: ConfidenceShift
) -> Iterator[str]:
    control, treatment = (
        f"{arm} {version}"
        for arm, version in (
            (split.arms.control, split.control),
            (split.arms.treatment, split.treatment),
        )
    )
    if not classes.labels.shared:
        yield (f"The versions share no label: {treatment} says none of those that {control} knows.")
    if classes.drift.drift:
        before, now = (_shared_shares(classes, v) for v in (split.control, split.treatment))
        label = max(before, key=lambda name: abs(now[name] - before[name]))
        yield (
            f"Among the labels that both versions know, {label} is {100 * before[label]:.1f} % of"
            f" the predictions of {control}, and {100 * now[label]:.1f} % of those of {treatment}."
        )
    least = min(sum(counts.values()) for counts in classes.counts.values())
    if least >= MIN_PREDICTIONS and confidence.difference <= -LARGE_FALL:
        yield (
            f"The mean confidence fell from {100 * confidence.control:.1f} % ({control}) to"
            f" {100 * confidence.treatment:.1f} % ({treatment})."
        )


def _shared_shares(classes: PredictedLabels, version: str) -> dict[str, float]:
    """Label -> its share of a version's predictions of labels that both know."""
    shares = {k: v for k, v in classes.shares[version].items() if k in classes.labels.shared}
    return {label: share / sum(shares.values()) for label, share in shares.items()}
