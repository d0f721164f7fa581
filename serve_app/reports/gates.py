"""What a gate between two weights of a rollout would say. Nothing acts on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serve_app.evidence.e_values import GateCell
from serve_app.evidence.gate import (
    Action,
    GateConditions,
    GateMetric,
    Latch,
    MetricEvidence,
    decide,
    judge,
    margin_at,
)
from serve_app.evidence.latency import LatencyLimit
from serve_app.evidence.settled import own_weights
from serve_app.evidence.srm import Srm
from serve_app.evidence.units import Flags, Floats
from serve_app.evidence.verdict import Pace
from serve_app.reports.experiment import Experiment
from serve_app.reports.period import Period
from serve_app.reports.settling import SplitUnits
from serve_app.rules.plan import Reason
from serve_app.store.ingress_writers import Recording
from serve_app.store.labelled_feedback import LabelledFeedback


@dataclass(frozen=True, slots=True)
class AssessedGate:
    """The decision of a gate at this look, from the whole experiment so far.

    Whether the candidate is up is not in the store, and counts as given. There is no latch either:
    only e-values of this look are seen.

    Attributes:
        weight: The present weight of the candidate.
        reasons: Sentences.
    """

    action: Action
    reasons: tuple[str, ...]
    weight: float
    metrics: tuple[MetricEvidence, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Events:
    """The units that a metric counts, and which had the event; bool [n].

    Attributes:
        counted: Those that the metric is about.
        early: Units with the event in the epoch of their first assignment.
        settled: Units with the event before they settled.
    """

    counted: Flags
    early: Flags
    settled: Flags


def assess_gate(
    canary: Experiment,
    period: Period,
    units: SplitUnits,
    feedback: LabelledFeedback,
    limit: LatencyLimit | None,
    srm: Srm,
    recording: Recording,
) -> AssessedGate:
    """Assess the gate at the present weight.

    Args:
        limit: None if it is not known; slow answers are then not judged.
        feedback: On all predictions of the experiment.
    """
    events = {GateMetric.FAILURES: _failures(units, limit)}
    if limit is not None:
        events[GateMetric.SLOW] = _slow_answers(units, limit)
    speakers, complaints = _complaints(units, feedback)
    if speakers.any():
        events[GateMetric.COMPLAINTS] = complaints
    pace = canary.pace(units.rows.at_ms, period.as_of_ms, canary.settle_ms) or Pace(None)
    weight = canary.weight_periods[-1].weight
    own_weight = own_weights(units.rows.epoch, canary.weight_periods)
    metrics = tuple(
        _judge(metric, units, own_weight, found, margin_at(metric, weight, pace.units_per_day))
        for metric, found in events.items()
    )
    is_present = own_weight == weight
    settled = units.settlement.is_settled
    answers = recording.stored + recording.missing
    conditions = GateConditions(
        at_ms=period.as_of_ms,
        step_ms=_step_ms(canary, period.as_of_ms),
        treatment_units=int((settled & units.treated & is_present).sum()),
        lost_share=recording.missing / answers if answers else 0.0,
        covers_experiment=canary.is_covered_by(period),
        candidate_is_up=True,
        srm=srm,
        units_with_feedback=int((speakers & settled).sum()),
    )
    decision = decide(metrics, conditions, Latch())
    return AssessedGate(decision.action, decision.reasons, weight, metrics)


def _judge(
    metric: GateMetric, units: SplitUnits, own_weight: Floats, events: _Events, margin: float
) -> MetricEvidence:
    counted, settled = events.counted, events.counted & units.settlement.is_settled
    return judge(
        metric,
        GateCell.count(own_weight[counted], units.treated[counted], events.early[counted]),
        GateCell.count(
            units.settlement.weight[settled], units.treated[settled], events.settled[settled]
        ),
        margin,
    )


def _failures(units: SplitUnits, limit: LatencyLimit | None) -> _Events:
    """An error, or an answer that hung."""
    rows = units.rows
    early, settled = rows.own_epoch_errors > 0, rows.errors > 0
    if limit is not None:
        is_limited = rows.at_ms >= limit.from_ms
        early = early | (is_limited & (rows.own_epoch_max_latency_ms > limit.hung_ms))
        settled = settled | (is_limited & (rows.max_latency_ms > limit.hung_ms))
    return _Events(np.ones(len(rows.unit), np.bool_), early, settled)


def _slow_answers(units: SplitUnits, limit: LatencyLimit) -> _Events:
    """A first answer beyond the limit."""
    is_slow = units.rows.first_latency_ms > limit.slow_ms
    return _Events(units.rows.at_ms >= limit.from_ms, is_slow, is_slow)


def _complaints(units: SplitUnits, feedback: LabelledFeedback) -> tuple[Flags, _Events]:
    """The units that gave feedback within the settle time, and those that complained."""
    rows, size = units.rows, len(units.rows.unit)
    place = np.searchsorted(rows.unit, feedback.unit)
    place = np.minimum(place, max(0, size - 1))
    if not size:
        nothing = np.zeros(0, np.bool_)
        return nothing, _Events(nothing, nothing, nothing)
    age_ms = feedback.reported_at_ms - rows.at_ms[place]
    is_own = feedback.reason.equals(Reason.SPLIT) & (rows.unit[place] == feedback.unit)
    is_own &= (age_ms >= 0) & (age_ms < units.settling.settle_ms)
    complained = is_own & (feedback.complaint == 1)
    early = complained & (feedback.epoch == rows.epoch[place])

    def units_with(said: Flags) -> Flags:
        return np.bincount(place[said], minlength=size) > 0

    everyone = np.ones(size, np.bool_)
    return units_with(is_own), _Events(everyone, units_with(early), units_with(complained))


def _step_ms(canary: Experiment, as_of_ms: int) -> int:
    """How long the present weight has been in force."""
    periods = canary.weight_periods
    until_ms = min(as_of_ms, canary.ended_at_ms or as_of_ms)
    same_ms = []
    for period in reversed(periods):
        if period.weight != periods[-1].weight:
            break
        same_ms.append(min(period.to_ms or until_ms, until_ms) - period.from_ms)
    return sum(same_ms)
