"""The A/B test report: which version users prefer, by the feedback of the assigned units."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from serve_app.domain import Reason
from serve_app.evidence.confidence import ALPHA, bonferroni
from serve_app.evidence.outcome import FeedbackRows, Metric, window_s
from serve_app.evidence.preference import (
    BoundedComparison,
    Preference,
    compare_overall,
    compare_preference,
    decide_preference,
    preference_measure,
    responders_measure,
)
from serve_app.evidence.srm import Srm, SrmCounts, check, check_slices
from serve_app.evidence.units import Ints, Texts
from serve_app.reports import experiment, to_json
from serve_app.reports.experiment import Experiment, VersionLabels
from serve_app.reports.participants import Participants, Units, find_participants
from serve_app.reports.period import Period
from serve_app.rules.ab_test import ABTest
from serve_app.store.labelled_feedback import LabelledFeedback
from serve_app.store.store import Store

KINDS = ("ab_test",)


def report(store: Store, period: Period, labels: VersionLabels, name: str | None) -> dict[str, Any]:
    """Feedback and verdict of an A/B test.

    Args:
        labels: The labels that a version knows.
        name: The experiment; None for the newest A/B test.

    Raises:
        NothingToReport: No A/B test was in force in the period.
    """
    test = experiment.find_experiment(store, KINDS, period, name)
    rule = test.rule
    assert isinstance(rule, ABTest)  # noqa: S101 by KINDS
    outcome = rule.outcome
    counts_by_region = experiment.srm_counts(store, test, period)
    srm = check(experiment.sum_regions(counts_by_region))
    control, treatment = set(labels(test.control)), set(labels(test.treatment))

    scope = period.scope(test.epoch_numbers)
    if test.unit != "request":
        # A unit belongs to the region of its first assignment, wherever its feedback comes from.
        scope = replace(scope, regions=None)
    feedback = store.labelled_feedback(scope)
    feedback = feedback.select(feedback.reason.equals(Reason.SPLIT))
    participants = find_participants(store, test, period, feedback)
    rows = _feedback_rows(feedback, participants)
    timely = rows.within_window(window_s(outcome.window))
    units = participants.units
    preference = compare_preference(units.assigned(), timely, outcome.metric, treatment - control)
    measure = preference_measure(outcome.metric, outcome.direction, outcome.min_effect)
    verdict = decide_preference(preference, measure, srm)
    return {
        "report": "ab",
        "period": period.content(),
        **test.content(),
        "covers_experiment": experiment.covers_experiment(store, test, period),
        "outcome": outcome.model_dump(),
        **to_json.verdict(verdict.verdict),
        "srm": to_json.srm(srm),
        "srm_by_region": {
            region: to_json.srm(result) for region, result in check_slices(counts_by_region).items()
        },
        "labels": {"shared": sorted(control & treatment), "new": sorted(treatment - control)},
        "overall": to_json.measure(
            measure,
            preference.overall.reported,
            srm,
            preference.overall.interval,
            # More units do not narrow the bounds on the ratings of units without feedback.
            has_power=outcome.metric != "rating",
        ),
        "shared_labels": _comparison(preference.shared),
        "new_labels": _comparison(preference.new),
        "unknown_truth": _comparison(preference.unknown),
        "regions": [
            {"region": region or None, **comparison}
            for region, comparison in _slices(units, units.region, timely, outcome.metric)
        ],
        "by_epoch": [
            {"epoch": epoch, "weight": test.weights[epoch], **comparison}
            for epoch, comparison in _slices(units, units.epoch, timely, outcome.metric)
        ],
        "responders": _responders(preference),
        "feedback_srm": to_json.srm(_feedback_srm(test, units, timely)),
        "feedback": {
            "eligible": len(rows.unit),
            "late": len(rows.unit) - len(timely.unit),
            "ineligible": int((~participants.is_eligible).sum()),
        },
        "hijack_rate": _hijack_rate(
            feedback.select(participants.is_eligible),
            test.treatment,
            control & treatment,
            treatment - control,
        ),
    }


def _slices(
    units: Units, by: Ints | Texts, rows: FeedbackRows, metric: Metric
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """All events in slices of the units, for diagnosis. The intervals are simultaneous.

    Args:
        by: [n], the slice of each unit.
    """
    names = np.unique(by)
    for name in names:
        members = units.select(by == name)
        bounded = compare_overall(
            members.assigned(),
            rows.for_units(members.unit),
            metric,
            bonferroni(ALPHA, len(names)),
        )
        yield name.item(), to_json.comparison(bounded.reported, bounded.interval)


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


def _comparison(bounded: BoundedComparison | None) -> dict[str, Any] | None:
    return to_json.comparison(bounded.reported, bounded.interval) if bounded else None


def _responders(preference: Preference) -> dict[str, Any]:
    """The units with feedback. Secondary: they are self-selected."""
    responders = preference.responders
    return {
        "coverage": {
            "control": to_json.number(responders.coverage.control),
            "treatment": to_json.number(responders.coverage.treatment),
        },
        "measure": responders_measure(preference.metric),
        "mean": to_json.comparison(responders.mean, responders.mean_interval),
        "worst_case_interval": to_json.interval(responders.worst_case_interval),
    }


def _feedback_srm(test: Experiment, units: Units, rows: FeedbackRows) -> Srm:
    """Whether both arms give feedback at the same rate."""
    has_feedback = np.isin(units.unit, rows.unit)
    counts = []
    for number, weight in test.weights.items():
        in_epoch = has_feedback & (units.epoch == number)
        treatment = int((in_epoch & units.treated).sum())
        counts.append(SrmCounts(number, int(in_epoch.sum()) - treatment, treatment, weight))
    return check(counts)


def _hijack_rate(
    feedback: LabelledFeedback, treatment: str, shared: Collection[str], new: Collection[str]
) -> dict[str, Any]:
    """The share of treatment's predictions of a new label whose true label is a shared one.

    Only predictions whose truth is known from feedback count. If there is a single new label,
    `correct: false` without a label means that the truth is a shared label.

    There is no interval: units give feedback on several predictions, and complaints are
    over-represented.
    """
    truth = feedback.reported_label.texts()
    is_unlabelled = truth == ""
    is_denied = is_unlabelled & (feedback.correct == 0) & (len(new) == 1)
    is_known = np.isin(truth, [*shared, *new]) | is_unlabelled & (feedback.correct == 1) | is_denied
    is_known &= feedback.assigned.equals(treatment) & np.isin(
        feedback.predicted_label.texts(), list(new)
    )
    is_hijacked = is_known & (is_denied | np.isin(truth, list(shared)))
    count = int(is_known.sum())
    return {"estimate": int(is_hijacked.sum()) / count if count else None, "predictions": count}
