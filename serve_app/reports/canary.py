"""The canary report: whether the candidate works, compared as assigned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from serve_app.clock import DAY_MS, HOUR_MS
from serve_app.evidence import confidence
from serve_app.evidence.canary import (
    SHARE,
    CanaryUnits,
    decide_canary,
    failures_measure,
    latency_measure,
)
from serve_app.evidence.clusters import images_per_unit
from serve_app.evidence.comparison import Comparison, UnitGroups
from serve_app.evidence.confidence import ALPHA, bonferroni
from serve_app.evidence.gate import MAX_LOST_SHARE
from serve_app.evidence.latency import LatencyLimit, Quantiles
from serve_app.evidence.srm import Srm, check, sum_slices
from serve_app.evidence.units import Floats, Ints, Texts, strata
from serve_app.evidence.verdict import ArmNames, Finding, Pace, Verdict, format_days
from serve_app.reports import answers, experiment
from serve_app.reports.answers import ReasonCounts, SlowLimit, VersionAnswers, VersionPoint
from serve_app.reports.experiment import (
    PART_OF_EXPERIMENT,
    AssessedSplit,
    Experiment,
    VersionLabels,
)
from serve_app.reports.gates import AssessedGate, assess_gate
from serve_app.reports.label_shift import ConfidenceShift, PredictedLabels, find_label_shift
from serve_app.reports.parts import (
    INLINE,
    ArmComparison,
    AssessedMeasure,
    EpochComparison,
    KnownLabels,
    RegionComparison,
    Series,
    Settling,
)
from serve_app.reports.period import CoveredPeriod, Period
from serve_app.reports.quality import Quality, assess_quality
from serve_app.reports.settling import SplitUnits, find_units
from serve_app.rules.canary import Canary
from serve_app.store.ingress_writers import Recording
from serve_app.store.store import Store


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A figure of settled units that decides nothing. If it differs, do not trust the measures.

    Attributes:
        unit: None for a share, empty for a number.
    """

    measure: str
    unit: str | None
    compared: ArmComparison = field(metadata=INLINE)

    @classmethod
    def of(cls, measure: str, unit: str | None, compared: Comparison) -> Guardrail:
        return cls(measure, unit, ArmComparison.of(compared, confidence.interval(compared)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryAssessment:
    """The candidate compared with stable.

    Attributes:
        warnings: Sentences on what the verdict does not say.
        settling: The units that the measures, guardrails, regions and epochs are about.
        slow_limit: None before it is known.
        measures: Units with a failure, the mean latency and the mean model time.
        regions, by_epoch: Units with a failure, for diagnosis.
        answers: By exposure. Descriptive.
        latency_ms, model_ms: Version -> quantiles, for exposures with the reason `split`; None for
            a region, because the store has no latencies by region. Descriptive.
        series: Exposures with the reason `split`.
    """

    report: Literal["canary"] = "canary"
    period: CoveredPeriod
    split: AssessedSplit = field(metadata=INLINE)
    finding: Finding
    sentence: str
    warnings: tuple[str, ...]
    srm: Srm
    settling: Settling
    slow_limit: SlowLimit | None
    measures: tuple[AssessedMeasure, ...]
    guardrails: tuple[Guardrail, ...]
    quality: Quality
    gate: AssessedGate
    regions: tuple[RegionComparison, ...]
    by_epoch: tuple[EpochComparison, ...]
    answers: tuple[VersionAnswers, ...]
    latency_ms: Mapping[str, Quantiles | None]
    model_ms: Mapping[str, Quantiles | None]
    classes: PredictedLabels
    confidence: ConfidenceShift
    reasons: tuple[ReasonCounts, ...]
    series: Series[VersionPoint]

    @property
    def arms(self) -> ArmNames:
        return self.split.arms


def assess(
    store: Store, period: Period, labels: VersionLabels, canary: Experiment
) -> CanaryAssessment:
    """Assess a canary.

    Args:
        labels: The labels that a version knows.
    """
    scope = period.scope(canary.epoch_numbers)
    as_of_ms = period.as_of_ms
    limit = answers.find_limit(store, canary, as_of_ms)
    units = find_units(store, canary, period)
    settled = _settled(units, as_of_ms)
    epoch = units.rows.epoch[units.settlement.is_settled]
    srm = check(sum_slices(experiment.srm_counts(store, canary, period)))
    pace = canary.pace(units.rows.at_ms, as_of_ms, canary.settle_ms)
    measures = _measures(canary, settled, limit, srm, pace)
    verdict = decide_canary({m.measure: Verdict(m.finding, m.sentence) for m in measures}, srm)
    if not canary.is_covered_by(period):
        measures = tuple(measure.without_verdict(PART_OF_EXPERIMENT) for measure in measures)
        verdict = Verdict(Finding.NOT_KNOWN, PART_OF_EXPERIMENT)
    elif not len(settled.treated) and not srm.is_invalid:
        verdict = Verdict(Finding.NOT_KNOWN, _unsettled_sentence(units, as_of_ms))
    keys = ("epoch", "assigned", "served_as_assigned", "reason", "label", "error")
    sums = store.exposure_sums(scope, by=keys, slot_ms=HOUR_MS)
    feedback, recording = store.labelled_feedback(scope), store.recording()
    by_version = tuple(VersionAnswers.of(v, sums) for v in (canary.control, canary.treatment))
    shift = find_label_shift(
        canary,
        sums,
        KnownLabels.of(labels(canary.control), labels(canary.treatment)),
        _images_per_unit(units, sum(found.counts.exposures for found in by_version)),
    )
    return CanaryAssessment(
        period=period.covered,
        split=canary.assessed(period),
        finding=verdict.finding,
        sentence=verdict.sentence,
        warnings=(*shift.warnings, *_recording_warnings(recording)),
        srm=srm,
        settling=units.settling,
        slow_limit=answers.describe_limit(limit, canary),
        measures=measures,
        guardrails=tuple(_guardrails(units, settled, limit)),
        quality=assess_quality(canary, feedback),
        gate=assess_gate(canary, period, units, feedback, limit, srm, recording),
        regions=tuple(
            RegionComparison(region or None, compared)
            for region, compared in _slices(settled, settled.region, limit)
        ),
        by_epoch=tuple(
            EpochComparison(number, canary.weights[number], compared)
            for number, compared in _slices(settled, epoch, limit)
        ),
        answers=by_version,
        latency_ms=answers.find_quantiles(store, canary, period, "latency"),
        model_ms=answers.find_quantiles(store, canary, period, "model"),
        classes=shift.classes,
        confidence=shift.confidence,
        reasons=answers.count_reasons(sums),
        series=answers.make_series(store, canary, period),
    )


def _settled(units: SplitUnits, as_of_ms: int) -> CanaryUnits:
    rows = units.rows
    return CanaryUnits(
        at_ms=rows.at_ms,
        weight=units.settlement.weight,
        treated=units.treated,
        region=rows.region.texts(),
        exposures=rows.exposures,
        errors=rows.errors,
        latency_ms=rows.latency_ms_sum,
        max_latency_ms=rows.max_latency_ms,
        model_count=rows.model_ms_count,
        model_ms=rows.model_ms_sum,
        later_exposures=rows.later_exposures,
        is_later_known=rows.at_ms + 2 * units.settling.settle_ms <= as_of_ms,
    ).select(units.settlement.is_settled)


def _unsettled_sentence(units: SplitUnits, as_of_ms: int) -> str:
    settling = units.settling
    young = units.rows.at_ms[units.settlement.is_settling]
    if not len(young):
        return "no units to compare."
    wait_ms = int(young.min()) + settling.settle_ms - as_of_ms
    return (
        f"0 of {len(units.rows.unit):,} units are settled"
        f" ({format_days(settling.settle_ms / DAY_MS)} old); the first is in"
        f" {format_days(max(wait_ms, 0) / DAY_MS)}."
    )


def _measures(
    canary: Experiment,
    units: CanaryUnits,
    limit: LatencyLimit | None,
    srm: Srm,
    pace: Pace | None,
) -> tuple[AssessedMeasure, ...]:
    rule = canary.rule
    assert isinstance(rule, Canary)  # noqa: S101 the report of this kind
    tolerances = rule.tolerances
    failures, latency = units.compare_failures(limit), units.compare_latency()
    model = units.compare_model_time()
    return tuple(
        AssessedMeasure.of(measure, compared, srm, pace)
        for measure, compared in (
            (failures_measure(tolerances.failures), failures),
            (latency_measure("latency", latency, tolerances.latency), latency),
            (latency_measure("model time", model, tolerances.latency), model),
        )
    )


def _guardrails(
    units: SplitUnits, settled: CanaryUnits, limit: LatencyLimit | None
) -> Iterator[Guardrail]:
    yield Guardrail.of("exposures a unit", "", settled.compare_exposures())
    yield Guardrail.of("units that came back", None, settled.compare_returns())
    if limit is not None:
        first_ms = units.rows.first_latency_ms[units.settlement.is_settled]
        compared = _compare_slow(settled, first_ms, limit)
        yield Guardrail.of("slow first answers", None, compared)


def _compare_slow(units: CanaryUnits, first_latency_ms: Floats, limit: LatencyLimit) -> Comparison:
    """The share of units whose first answer was slow, of those that the limit judges."""
    judged = units.at_ms >= limit.from_ms
    found = units.select(judged)
    split = np.unique(found.weight, return_inverse=True)[1]
    stratum = strata(split, found.at_ms // HOUR_MS, found.treated)
    groups = UnitGroups(stratum, found.treated, np.ones(len(stratum)))
    return groups.compare(first_latency_ms[judged] > limit.slow_ms, SHARE)


def _slices(
    units: CanaryUnits, by: Ints | Texts, limit: LatencyLimit | None
) -> Iterator[tuple[Any, ArmComparison]]:
    """Units with a failure in slices, for diagnosis. The intervals are simultaneous.

    Args:
        by: [n], the slice of each unit.
    """
    names = np.unique(by)
    for name in names:
        compared = units.select(by == name).compare_failures(limit)
        alpha = bonferroni(ALPHA, len(names))
        yield name.item(), ArmComparison.of(compared, confidence.interval(compared, alpha))


def _images_per_unit(units: SplitUnits, exposures: int) -> float:
    """How many images of an image's unit there are; more than the store knows by unit."""
    seen = units.rows.exposures + units.rows.later_exposures
    known = float(seen.sum())
    return images_per_unit(units.rows.unit, seen) * max(1.0, exposures / known if known else 1.0)


def _recording_warnings(recording: Recording) -> Iterator[str]:
    answered = recording.stored + recording.missing
    if recording.missing > MAX_LOST_SHARE * answered:
        yield (
            f"Recording is incomplete: {recording.missing:,} of {answered:,} answers are missing."
        )
