"""The A/B test report: which version users prefer, by the feedback of the assigned units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from serve_app.durations import duration_ms
from serve_app.evidence.confidence import Interval
from serve_app.evidence.outcome import FeedbackRows, HijackRate, hijack_rate
from serve_app.evidence.participants import Participants, check_response, compare_slices
from serve_app.evidence.preference import (
    BoundedComparison,
    Responders,
    compare_preference,
    decide_preference,
    preference_measure,
    responders_measure,
)
from serve_app.evidence.srm import Srm, check, check_slices, sum_slices
from serve_app.evidence.verdict import Finding
from serve_app.reports import experiment
from serve_app.reports.experiment import AssessedSplit, Experiment, VersionLabels
from serve_app.reports.participants import find_participants
from serve_app.reports.parts import (
    INLINE,
    ArmComparison,
    Arms,
    AssessedMeasure,
    EpochComparison,
    KnownLabels,
    RegionComparison,
)
from serve_app.reports.period import CoveredPeriod, Period
from serve_app.rules.ab_test import ABTest, Outcome
from serve_app.rules.plan import Reason
from serve_app.store.labelled_feedback import LabelledFeedback
from serve_app.store.store import Store


@dataclass(frozen=True, slots=True)
class AssessedResponders:
    """The units with feedback. Secondary: they are self-selected.

    Attributes:
        measure: The name of `mean`.
        coverage: The share of assigned units with feedback; nan without units.
        worst_case_interval: Of the difference over all assigned units, whatever the units without
            feedback would have said.
    """

    coverage: Arms[float]
    measure: str
    mean: ArmComparison
    worst_case_interval: Interval


@dataclass(frozen=True, slots=True)
class FeedbackCounts:
    """Predictions with feedback.

    Attributes:
        eligible: On predictions of units that were first assigned in the period.
        late: Of these, those after the window.
        ineligible: Other feedback on predictions of the test.
    """

    eligible: int
    late: int
    ineligible: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ABTestAssessment:
    """Feedback and verdict of an A/B test.

    Attributes:
        shared_labels, new_labels, unknown_truth: Events by true label; None for ratings, and if no
            label is new.
    """

    report: Literal["ab"] = "ab"
    period: CoveredPeriod
    split: AssessedSplit = field(metadata=INLINE)
    outcome: Outcome
    finding: Finding
    sentence: str
    srm: Srm
    srm_by_region: Mapping[str, Srm]
    labels: KnownLabels
    overall: AssessedMeasure
    shared_labels: ArmComparison | None
    new_labels: ArmComparison | None
    unknown_truth: ArmComparison | None
    regions: tuple[RegionComparison, ...]
    by_epoch: tuple[EpochComparison, ...]
    responders: AssessedResponders
    feedback_srm: Srm
    feedback: FeedbackCounts
    hijack_rate: HijackRate


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
    counts_by_region = experiment.srm_counts(store, test, period)
    srm = check(sum_slices(counts_by_region))
    known = KnownLabels.of(labels(test.control), labels(test.treatment))

    scope = period.scope(test.epoch_numbers)
    if test.unit != "request":
        # A unit belongs to the region of its first assignment, wherever its feedback comes from.
        scope = replace(scope, regions=None)
    feedback = store.labelled_feedback(scope)
    feedback = feedback.select(feedback.reason.equals(Reason.SPLIT))
    participants = find_participants(store, test, period, feedback)
    rows = _feedback_rows(feedback, participants)
    timely = rows.within_window(duration_ms(outcome.window) / 1000)
    units = participants.units
    preference = compare_preference(units.assigned(), timely, outcome.metric, known.new)
    measure = preference_measure(outcome.metric, outcome.direction, outcome.min_effect)
    verdict = decide_preference(preference, measure, srm).verdict
    is_treated = feedback.assigned.equals(test.treatment)[participants.is_eligible]
    return ABTestAssessment(
        period=period.covered,
        split=test.assessed(period),
        outcome=outcome,
        finding=verdict.finding,
        sentence=verdict.sentence,
        srm=srm,
        srm_by_region=check_slices(counts_by_region),
        labels=known,
        overall=AssessedMeasure.of(
            measure,
            preference.overall.reported,
            srm,
            preference.overall.interval,
            # More units do not narrow the bounds on the ratings of units without feedback.
            has_power=outcome.metric != "rating",
        ),
        shared_labels=_comparison(preference.shared),
        new_labels=_comparison(preference.new),
        unknown_truth=_comparison(preference.unknown),
        regions=tuple(
            RegionComparison(region or None, ArmComparison.of(found.reported, found.interval))
            for region, found in compare_slices(units, units.region, timely, outcome.metric)
        ),
        by_epoch=tuple(
            EpochComparison(
                number, test.weights[number], ArmComparison.of(found.reported, found.interval)
            )
            for number, found in compare_slices(units, units.epoch, timely, outcome.metric)
        ),
        responders=_responders(preference.responders, responders_measure(outcome.metric)),
        feedback_srm=check_response(units, timely.unit, test.weights),
        feedback=FeedbackCounts(
            eligible=len(rows.unit),
            late=len(rows.unit) - len(timely.unit),
            ineligible=int((~participants.is_eligible).sum()),
        ),
        hijack_rate=hijack_rate(rows.select(is_treated), known.shared, known.new),
    )


def _feedback_rows(feedback: LabelledFeedback, participants: Participants) -> FeedbackRows:
    """The eligible feedback, with nan where a value is missing."""
    eligible = feedback.select(participants.is_eligible)
    return FeedbackRows(
        unit=participants.feedback_unit[participants.is_eligible],
        predicted_label=eligible.predicted_label.texts(),
        reported_label=eligible.reported_label.texts(),
        correct=np.where(eligible.correct < 0, np.nan, eligible.correct),
        complaint=np.where(eligible.complaint < 0, np.nan, eligible.complaint),
        rating=np.where(eligible.rating == 0, np.nan, eligible.rating),
        delay_s=(eligible.reported_at_ms - eligible.at_ms) / 1000,
    )


def _comparison(bounded: BoundedComparison | None) -> ArmComparison | None:
    return ArmComparison.of(bounded.reported, bounded.interval) if bounded else None


def _responders(responders: Responders, measure: str) -> AssessedResponders:
    coverage = responders.coverage
    return AssessedResponders(
        Arms(coverage.control, coverage.treatment),
        measure,
        ArmComparison.of(responders.mean, responders.mean_interval),
        responders.worst_case_interval,
    )
