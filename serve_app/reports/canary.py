"""The canary report: whether the candidate works, compared as assigned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np

from serve_app.clock import DAY_MS, HOUR_MS
from serve_app.evidence.canary import ERROR_RATE, CanaryUnits, decide_canary, latency_measure
from serve_app.evidence.clusters import images_per_unit
from serve_app.evidence.confidence import ALPHA, bonferroni
from serve_app.evidence.label_mix import LabelCount, LabelMix
from serve_app.evidence.latency import HourHistogram, Quantiles, balanced_quantiles
from serve_app.evidence.srm import Srm, check, sum_slices
from serve_app.evidence.units import Ints, Texts
from serve_app.evidence.verdict import Finding
from serve_app.reports import experiment
from serve_app.reports.experiment import AssessedSplit, Experiment, VersionLabels
from serve_app.reports.parts import (
    INLINE,
    ArmComparison,
    AssessedMeasure,
    DriftCheck,
    EpochComparison,
    KnownLabels,
    RegionComparison,
    Series,
)
from serve_app.reports.period import CoveredPeriod, Period
from serve_app.reports.traffic import Counts
from serve_app.rules.plan import Reason
from serve_app.store.exposure_sums import ExposureSum
from serve_app.store.store import Store
from serve_app.store.units import UnitExposureSums

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class MeasuredPeriod:
    """The whole UTC days that the measures cover."""

    since_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class PredictedLabels:
    """The labels that each version predicted itself.

    Attributes:
        counts: Version -> label -> predictions, in hours in which both versions served.
        shares: Version -> label -> share of these, with stable's hours weighted to the
            candidate's numbers.
        shared: The labels that both versions know.
        drift: Between the versions, on shared labels.
    """

    counts: Mapping[str, Mapping[str, int]]
    shares: Mapping[str, Mapping[str, float]]
    shared: list[str]
    drift: DriftCheck = field(metadata=INLINE)


@dataclass(frozen=True, slots=True)
class ReasonCounts:
    """Exposures of a version and reason. Only the reason `split` is compared."""

    version: str | None
    reason: str
    counts: Counts = field(metadata=INLINE)


@dataclass(frozen=True, slots=True)
class VersionPoint:
    """Exposures of a version in a time slot."""

    at_ms: int
    version: str | None
    exposures: int
    errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryAssessment:
    """The candidate compared with stable on the same days.

    Attributes:
        measured_period: Of the measures.
        measures: The error rate, the mean latency and the mean model time.
        regions, by_epoch: The error rate, for diagnosis.
        latency_ms, model_ms: Version -> quantiles, for exposures with the reason `split`; None for
            a region, because the store has no latencies by region. Descriptive.
        series: Exposures with the reason `split`.
        confidence: Version -> weighted mean, 0 to 1; nan without predictions.
    """

    report: Literal["canary"] = "canary"
    period: CoveredPeriod
    split: AssessedSplit = field(metadata=INLINE)
    finding: Finding
    sentence: str
    srm: Srm
    measured_period: MeasuredPeriod
    measures: tuple[AssessedMeasure, ...]
    regions: tuple[RegionComparison, ...]
    by_epoch: tuple[EpochComparison, ...]
    latency_ms: Mapping[str, Quantiles | None]
    model_ms: Mapping[str, Quantiles | None]
    classes: PredictedLabels
    confidence: Mapping[str, float]
    reasons: tuple[ReasonCounts, ...]
    series: Series[VersionPoint]


def assess(
    store: Store, period: Period, labels: VersionLabels, canary: Experiment
) -> CanaryAssessment:
    """Assess a canary. The measures are by unit and cover whole UTC days.

    Args:
        labels: The labels that a version knows.
    """
    days = period.whole_days
    units = _units(canary, store.unit_sums(canary.name, days.scope(canary.epoch_numbers)))
    srm = check(sum_slices(experiment.srm_counts(store, canary, period)))
    keys = ("epoch", "assigned", "served_as_assigned", "reason", "label")
    sums = store.exposure_sums(period.scope(canary.epoch_numbers), by=keys, slot_ms=HOUR_MS)
    mix = LabelMix.from_counts(_label_counts(canary, sums))
    measures = _measures(units, srm)
    verdict = decide_canary({m.measure: m.finding for m in measures}, srm)
    known = KnownLabels.of(labels(canary.control), labels(canary.treatment))
    return CanaryAssessment(
        period=period.covered,
        split=canary.assessed(period),
        finding=verdict.finding,
        sentence=verdict.sentence,
        srm=srm,
        measured_period=MeasuredPeriod(
            max(days.since_ms, canary.epochs[0].started_at_ms // DAY_MS * DAY_MS), days.until_ms
        ),
        measures=measures,
        regions=tuple(
            RegionComparison(region or None, compared)
            for region, compared in _slices(units, units.region)
        ),
        by_epoch=tuple(
            EpochComparison(number, canary.weights[number], compared)
            for number, compared in _slices(units, units.epoch)
        ),
        latency_ms=_quantiles(store, canary, period, "latency"),
        model_ms=_quantiles(store, canary, period, "model"),
        classes=_predicted_labels(canary, mix, known.shared, units),
        confidence=_by_version(canary, mix.mean_confidence(0), mix.mean_confidence(1)),
        reasons=_reasons(sums),
        series=_series(store, canary, period),
    )


def _units(canary: Experiment, sums: UnitExposureSums) -> CanaryUnits:
    """The sums of the units that were assigned one of the two versions."""
    treated = sums.assigned.equals(canary.treatment)
    in_canary = treated | sums.assigned.equals(canary.control)
    return CanaryUnits(
        unit=sums.unit,
        epoch=sums.epoch,
        day=sums.day,
        region=sums.region.texts(),
        treated=treated,
        exposures=sums.exposures.astype(np.float64),
        errors=sums.errors.astype(np.float64),
        latency_ms=sums.latency_ms_sum,
        model_count=sums.model_ms_count.astype(np.float64),
        model_ms=sums.model_ms_sum,
    ).select(in_canary)


def _measures(units: CanaryUnits, srm: Srm) -> tuple[AssessedMeasure, ...]:
    errors, interval = units.compare_errors()
    latency, model = units.compare_latency(), units.compare_model_time()
    return (
        AssessedMeasure.of(ERROR_RATE, errors, srm, interval),
        AssessedMeasure.of(latency_measure("latency", latency), latency, srm),
        AssessedMeasure.of(latency_measure("model time", model), model, srm),
    )


def _slices(units: CanaryUnits, by: Ints | Texts) -> Iterator[tuple[Any, ArmComparison]]:
    """The error rate in slices, for diagnosis. The intervals are simultaneous.

    Args:
        by: [n], the slice of each row.
    """
    names = np.unique(by)
    for name in names:
        alpha = bonferroni(ALPHA, len(names))
        yield name.item(), ArmComparison.of(*units.select(by == name).compare_errors(alpha))


def _quantiles(
    store: Store, canary: Experiment, period: Period, kind: Literal["latency", "model"]
) -> dict[str, Quantiles | None]:
    versions = (canary.control, canary.treatment)
    if period.countries is not None:
        return dict.fromkeys(versions)
    histograms = store.latency_histograms(
        period.scope(canary.epoch_numbers),
        kind,
        by=("epoch", "assigned", "reason"),
        slot_ms=HOUR_MS,
    )
    quantiles = balanced_quantiles(
        [
            HourHistogram(
                (h.epoch or 0, h.at_ms or 0), versions.index(h.assigned or ""), h.buckets, h.counts
            )
            for h in histograms
            if h.reason == Reason.SPLIT and h.assigned in versions
        ]
    )
    return dict(zip(versions, quantiles, strict=True))


def _label_counts(canary: Experiment, sums: list[ExposureSum]) -> Iterator[LabelCount]:
    """The predictions of versions that served their assigned requests themselves."""
    arms = {canary.control: 0, canary.treatment: 1}
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


def _predicted_labels(
    canary: Experiment, mix: LabelMix, shared: list[str], units: CanaryUnits
) -> PredictedLabels:
    cluster_size = images_per_unit(units.unit, units.exposures)
    return PredictedLabels(
        counts=_by_version(canary, mix.label_counts(0), mix.label_counts(1)),
        shares=_by_version(canary, mix.label_shares(0), mix.label_shares(1)),
        shared=shared,
        drift=DriftCheck.of(mix.drift(shared, cluster_size)),
    )


def _by_version(canary: Experiment, control: Value, treatment: Value) -> dict[str, Value]:
    return {canary.control: control, canary.treatment: treatment}


def _reasons(sums: list[ExposureSum]) -> tuple[ReasonCounts, ...]:
    groups: dict[tuple[str, str], list[ExposureSum]] = {}
    for row in sums:
        groups.setdefault((row.assigned or "", row.reason or ""), []).append(row)
    return tuple(
        ReasonCounts(version or None, reason, Counts.of(rows))
        for (version, reason), rows in sorted(groups.items())
    )


def _series(store: Store, canary: Experiment, period: Period) -> Series[VersionPoint]:
    slot_ms = period.slot_ms(canary.epochs[0].started_at_ms)
    scope = period.scope(canary.epoch_numbers)
    return Series(
        slot_ms,
        tuple(
            VersionPoint(row.at_ms or 0, row.assigned or None, row.exposures, row.errors)
            for row in store.exposure_sums(scope, by=("assigned", "reason"), slot_ms=slot_ms)
            if row.reason == Reason.SPLIT
        ),
    )
