"""The A/B test report: which version users prefer, by the feedback of the settled units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from serve_app.durations import duration_ms
from serve_app.evidence.confidence import Interval
from serve_app.evidence.outcome import FeedbackRows, HijackRate, hijack_rate
from serve_app.evidence.participants import check_response, compare_slices
from serve_app.evidence.preference import (
    BoundedComparison,
    Preference,
    Responders,
    compare_preference,
    preference_measure,
    responders_measure,
)
from serve_app.evidence.preference_verdict import (
    Collected,
    PreferenceVerdict,
    decide_preference,
    undecidable,
)
from serve_app.evidence.srm import Srm, check, check_slices, sum_slices
from serve_app.evidence.units import Flags, Ints
from serve_app.evidence.verdict import Finding, Measure, Pace, Verdict
from serve_app.reports import experiment
from serve_app.reports.experiment import (
    PART_OF_EXPERIMENT,
    AssessedSplit,
    Experiment,
    VersionLabels,
)
from serve_app.reports.participants import SettlingTimes, find_units
from serve_app.reports.parts import (
    INLINE,
    ArmComparison,
    Arms,
    AssessedMeasure,
    EpochComparison,
    KnownLabels,
    RegionComparison,
    Settling,
)
from serve_app.reports.period import CoveredPeriod, Period
from serve_app.reports.quality import Quality, assess_quality
from serve_app.rules.ab_test import ABTest, Outcome
from serve_app.rules.plan import Reason
from serve_app.store.labelled_feedback import LabelledFeedback
from serve_app.store.store import Store


@dataclass(frozen=True, slots=True)
class AssessedResponders:
    """The units with feedback. Secondary: they are self-selected.

    Attributes:
        measure: The name of `mean`.
        coverage: The share of settled units with feedback; nan without units.
        worst_case_interval: Of the difference over all settled units, whatever the units without
            feedback would have said.
    """

    coverage: Arms[float]
    measure: str
    mean: ArmComparison
    worst_case_interval: Interval

    @classmethod
    def of(cls, responders: Responders, measure: str) -> AssessedResponders:
        coverage = responders.coverage
        return cls(
            Arms(coverage.control, coverage.treatment),
            measure,
            ArmComparison.of(responders.mean, responders.mean_interval),
            responders.worst_case.interval,
        )


@dataclass(frozen=True, slots=True)
class AssessedLabels:
    """The events of a group of labels.

    Attributes:
        compared: The shares are those of units with an event known to be of the group. If some have
            an unknown label, `difference` is not known, and `interval` is that of a sensitivity
            analysis.
        possible: The differences that no number of units tells apart.
        worst_case_interval: As `interval`, whatever the unknown labels are.
    """

    compared: ArmComparison = field(metadata=INLINE)
    possible: Interval
    worst_case_interval: Interval
    finding: Finding
    sentence: str


@dataclass(frozen=True, slots=True)
class EventCounts:
    """Predictions of settled units with an event, such as a complaint.

    Attributes:
        unknown_truth: Those whose true label is unknown.
    """

    total: int
    unknown_truth: int


@dataclass(frozen=True, slots=True)
class FeedbackCounts:
    """Predictions with feedback.

    Attributes:
        answers: All predictions of the test.
        eligible: On predictions of settled units while they settled.
        late: Of these, those after the window.
        early: On predictions of units that are not settled yet.
        ineligible: Other feedback on predictions of the test.
    """

    answers: int
    eligible: int
    late: int
    early: int
    ineligible: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ABTestAssessment:
    """Feedback and verdict of an A/B test.

    Attributes:
        settling_times: None if no unit is settling.
        units_to_decide: The units of both arms that decide the test if the figures stay; None if it
            is decided, or no number does.
        shared_labels, new_labels, unknown_truth, events: By true label; None for ratings, and if no
            label is new.
    """

    report: Literal["ab"] = "ab"
    period: CoveredPeriod
    split: AssessedSplit = field(metadata=INLINE)
    outcome: Outcome
    finding: Finding
    sentence: str
    settling: Settling
    settling_times: SettlingTimes | None
    srm: Srm
    srm_by_region: Mapping[str, Srm]
    labels: KnownLabels
    units_to_decide: int | None
    overall: AssessedMeasure
    shared_labels: AssessedLabels | None
    new_labels: AssessedLabels | None
    unknown_truth: ArmComparison | None
    events: EventCounts | None
    regions: tuple[RegionComparison, ...]
    by_epoch: tuple[EpochComparison, ...]
    responders: AssessedResponders
    feedback_srm: Srm
    feedback: FeedbackCounts
    hijack_rate: HijackRate
    quality: Quality


def assess(
    store: Store, period: Period, labels: VersionLabels, test: Experiment
) -> ABTestAssessment:
    """Assess an A/B test.

    Args:
        labels: The labels that a version knows.
    """
    rule = test.rule
    assert isinstance(rule, ABTest)  # noqa: S101 the report of this kind
    outcome = rule.outcome
    metric = outcome.metric
    counts_by_region = experiment.srm_counts(store, test, period)
    known = KnownLabels.of(labels(test.control), labels(test.treatment))

    feedback = _read_feedback(store, period, test)
    found = find_units(store, test, period, feedback)
    units, is_eligible = found.participants.units, found.participants.is_eligible
    is_in_region = _is_in(feedback, period)
    said = _feedback_rows(feedback, found.participants.feedback_unit)
    rows = said.select(is_eligible)
    timely = rows.within_window(duration_ms(outcome.window) / 1000)

    preference = compare_preference(units.assigned(), timely, metric, known.new)
    measure = preference_measure(metric, outcome.direction, outcome.min_effect, preference.alpha)
    answers = _count_answers(store, period, test)
    collected = Collected(
        srm=check(sum_slices(counts_by_region)),
        feedback_srm=check_response(units, timely.unit),
        answers=answers,
        answers_with_metric=int((~np.isnan(said.values(metric)) & is_in_region).sum()),
        settled=found.settling.settled.control + found.settling.settled.treatment,
        settling=found.settling.settling,
        settles=_describe(found.times),
    )
    decided = decide_preference(preference, measure, collected, found.pace)
    if not test.is_covered_by(period):
        decided = decided.without_verdict(PART_OF_EXPERIMENT)
    groups = preference.groups
    is_treated = feedback.assigned.equals(test.treatment)[is_eligible]
    return ABTestAssessment(
        period=period.covered,
        split=test.assessed(period),
        outcome=outcome,
        finding=decided.verdict.finding,
        sentence=decided.verdict.sentence,
        settling=found.settling,
        settling_times=found.times,
        srm=collected.srm,
        srm_by_region=check_slices(counts_by_region),
        labels=known,
        units_to_decide=decided.units_to_decide,
        overall=_overall(preference, measure, collected.srm, decided, found.pace),
        shared_labels=_labels(groups.shared if groups else None, decided.shared),
        new_labels=_labels(groups.new if groups else None, decided.new),
        unknown_truth=_comparison(groups.unknown) if groups else None,
        events=EventCounts(groups.events, groups.unknown_events) if groups else None,
        regions=tuple(
            RegionComparison(region or None, _comparison(compared))
            for region, compared in compare_slices(units, units.region, timely, metric)
        ),
        by_epoch=tuple(
            EpochComparison(number, test.weights[number], _comparison(compared))
            for number, compared in compare_slices(units, units.epoch, timely, metric)
        ),
        responders=AssessedResponders.of(preference.responders, responders_measure(metric)),
        feedback_srm=collected.feedback_srm,
        feedback=FeedbackCounts(
            answers=answers,
            eligible=len(rows.unit),
            late=len(rows.unit) - len(timely.unit),
            early=int((found.is_early & ~is_eligible).sum()),
            ineligible=int((~found.is_early & ~is_eligible).sum()),
        ),
        hijack_rate=hijack_rate(rows.select(is_treated), known.shared, known.new),
        quality=assess_quality(test, feedback.select(is_in_region)),
    )


def _read_feedback(store: Store, period: Period, test: Experiment) -> LabelledFeedback:
    """The feedback on predictions of the split, of both versions."""
    scope = period.scope(test.epoch_numbers)
    if test.unit != "request":
        # A unit belongs to the region of its first assignment, wherever its feedback comes from.
        scope = replace(scope, regions=None)
    found = store.labelled_feedback(scope)
    in_test = found.assigned.equals(test.control) | found.assigned.equals(test.treatment)
    return found.select(found.reason.equals(Reason.SPLIT) & in_test)


def _feedback_rows(feedback: LabelledFeedback, unit: Ints) -> FeedbackRows:
    """Feedback with nan where a value is missing.

    Args:
        unit: [n], the unit of each row.
    """
    return FeedbackRows(
        unit=unit,
        predicted_label=feedback.predicted_label.texts(),
        reported_label=feedback.reported_label.texts(),
        correct=np.where(feedback.correct < 0, np.nan, feedback.correct),
        complaint=np.where(feedback.complaint < 0, np.nan, feedback.complaint),
        rating=np.where(feedback.rating == 0, np.nan, feedback.rating),
        delay_s=(feedback.reported_at_ms - feedback.at_ms) / 1000,
    )


def _count_answers(store: Store, period: Period, test: Experiment) -> int:
    """The predictions of the split, of both versions."""
    sums = store.exposure_sums(period.scope(test.epoch_numbers), by=("assigned", "reason"))
    return sum(
        row.exposures - row.errors + row.fallbacks
        for row in sums
        if row.reason == Reason.SPLIT and row.assigned in (test.control, test.treatment)
    )


def _is_in(feedback: LabelledFeedback, period: Period) -> Flags:
    """[n]: whether each prediction was in the region of the report."""
    if period.countries is None:
        return np.ones(len(feedback.unit), np.bool_)
    return np.isin(feedback.region.texts(), list(period.countries))


def _overall(
    preference: Preference,
    measure: Measure,
    srm: Srm,
    decided: PreferenceVerdict,
    pace: Pace | None,
) -> AssessedMeasure:
    """All events. Without groups of labels, and without a verdict, it says what the test says."""
    overall = preference.overall
    assessed = AssessedMeasure.of(
        measure,
        overall.reported,
        srm,
        pace,
        overall.interval,
        possible=overall.possible,
        undecidable=undecidable(preference, measure),
    )
    if overall.is_bounded:  # the power would be that of the ratings of all units
        assessed = replace(assessed, detectable_effect=None, units_needed=None)
    if preference.groups and decided.verdict.finding is not Finding.NOT_KNOWN:
        return assessed
    return replace(
        assessed,
        finding=decided.verdict.finding,
        sentence=decided.verdict.sentence,
        units_to_decide=decided.units_to_decide,
    )


def _labels(group: BoundedComparison | None, verdict: Verdict | None) -> AssessedLabels | None:
    if group is None or verdict is None:
        return None
    compared = _comparison(group)
    if group.is_bounded:
        unknown = Interval(-math.inf, math.inf, always_valid=False)
        compared = replace(compared, difference=math.nan, fixed_horizon_interval=unknown)
    return AssessedLabels(
        compared, group.possible, group.worst_case_interval, verdict.finding, verdict.sentence
    )


def _comparison(bounded: BoundedComparison) -> ArmComparison:
    return ArmComparison.of(bounded.reported, bounded.interval)


def _describe(times: SettlingTimes | None) -> str:
    """When the settling units will count."""
    if times is None:
        return ""
    first, most = (
        datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        for at_ms in (times.first_ms, times.most_ms)
    )
    return f"the first counts from {first}, nine in ten from {most}"
