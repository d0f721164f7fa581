"""The decision of a gate: roll back, pass or hold.

A gate stands between two weights of a rollout. Three kinds of errors have three budgets, because
they cost different things (Schultzberg, Ankargren, Frånberg, arXiv 2402.11609):

- A rollback of a version that does no harm. One metric is enough for a rollback, so the metrics
  share `ROLLBACK_ALPHA`, 5 % in all.
- A pass of a version that is worse by a margin or more. All metrics must pass, so each has
  `PASS_ALPHA`, 5 %, undivided (intersection-union test: Berger, Technometrics 1982).
- Counts that are wrong or not there yet. No statistic answers for them: the gate holds.

A rollback needs proof of harm (`harm_e_value`), of any size. A pass needs proof that treatment is
not worse by the margin (`non_inferiority_e_value`). Control is stable, treatment the candidate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from serve_app.clock import HOUR_MS
from serve_app.evidence.e_values import (
    GateCell,
    above_limit_e_value,
    below_limit_e_value,
    harm_e_value,
    non_inferiority_e_value,
)
from serve_app.evidence.srm import Srm


class GateMetric(StrEnum):
    """A share of units, or of copied images, with an event; fewer are better."""

    FAILURES = "failures"  # units with a failure within the settle time, a hung answer included
    SLOW = "slow"  # units with a first answer beyond stable's p95 of the 24 h before the rollout
    COMPLAINTS = "complaints"  # units with a complaint within the settle time
    DISAGREEMENT = "disagreement"  # images on which a shadow's versions disagree


class Action(StrEnum):
    ROLL_BACK = "roll back"
    PASS = "pass"  # noqa: S105  go to the next weight, or promote
    HOLD = "hold"


# Of 5 % in all, failures have the largest part: they are the worst for users. The part of the
# disagreement is that of the SRM check in a canary (`srm.SRM_ALPHA`).
ROLLBACK_ALPHA = MappingProxyType(
    {
        GateMetric.FAILURES: 0.02,
        GateMetric.SLOW: 0.01,
        GateMetric.COMPLAINTS: 0.01,
        GateMetric.DISAGREEMENT: 0.01,
    }
)
PASS_ALPHA = 0.05  # the usual level
# Differences of shares at a weight of at most 5 %, of at most 25 %, and beyond. The product of
# weight and margin is the share of all users that may be worse off: at most 0.5 points by failures,
# 1.5 points by the others.
MARGINS = MappingProxyType(
    {
        GateMetric.FAILURES: (0.05, 0.02, 0.01),
        GateMetric.SLOW: (0.10, 0.05, 0.03),
        GateMetric.COMPLAINTS: (0.10, 0.05, 0.03),
    }
)
MARGIN_WEIGHTS = (0.05, 0.25)
# Proof at the last margin of failures takes about 900 settled units of treatment: four days at this
# rate and a weight of one half. A slower service keeps the margin before it.
SMALL_UNITS_PER_DAY = 500
DISAGREEMENT_LIMIT = 0.10  # the default tolerance of a shadow
MIN_STEP_MS = 24 * HOUR_MS  # so that each step has a busiest and a quietest hour
# Up to 6 % of units may fail if none of 50 does (exact bound, 95 %): about the first margin.
MIN_TREATMENT_UNITS = 50
# If all exposures that are lost failed, so many could hide the last margin of failures.
MAX_LOST_SHARE = 0.01

_NOUNS = MappingProxyType(
    {
        GateMetric.FAILURES: "Units with a failure",
        GateMetric.SLOW: "Units with a slow first answer",
        GateMetric.COMPLAINTS: "Units with a complaint",
        GateMetric.DISAGREEMENT: "Copied images with another label",
    }
)


@dataclass(frozen=True, slots=True)
class EventCounts:
    """Units and units with the event, by arm, over all cells. Of a shadow, control has none."""

    control_units: float
    control_events: float
    treatment_units: float
    treatment_events: float


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of settled units with the event, 0 to 1; None if not known.

    That of control is weighted to treatment's mix of cells, so that a weight that grows while the
    rates change does not make a difference.
    """

    control: float | None
    treatment: float | None


@dataclass(frozen=True, slots=True)
class MetricEvidence:
    """What one metric says at one look.

    Attributes:
        harm_e_value: Evidence of harm, of `harm_counts`; proof from harm_threshold on.
        pass_e_value: Evidence that treatment is not worse by the margin, of `pass_counts`; proof
            from pass_threshold on.
        margin: A difference of shares; of a disagreement its limit, a share.
    """

    metric: GateMetric
    harm_e_value: float
    harm_threshold: float
    harm_counts: EventCounts
    pass_e_value: float
    pass_threshold: float
    pass_counts: EventCounts
    margin: float
    rates: Rates


@dataclass(frozen=True, slots=True)
class Crossing:
    """The first look at which an e-value was proof.

    Attributes:
        margin: Of a proof that treatment is not worse; None of a proof of harm.
    """

    metric: GateMetric
    margin: float | None
    at_ms: int
    e_value: float
    threshold: float
    counts: EventCounts


@dataclass(frozen=True, slots=True)
class Latch:
    """The first crossings of a rollout, oldest first.

    The probability of an error bounds the first crossing, and e-values may fall again, so what was
    proved once stays proved. Harm is proved once for a metric. That treatment is not worse is
    proved for a margin and, with it, for all larger ones, at whatever weight: the margin is the
    hypothesis. A step with a smaller margin thus needs its own proof, and one with the same margin
    does not. Plain values, so `dataclasses.asdict` gives JSON.
    """

    crossings: tuple[Crossing, ...] = ()

    def harm(self, metric: GateMetric) -> Crossing | None:
        """The proof that treatment is worse."""
        return next((c for c in self.crossings if c.metric == metric and c.margin is None), None)

    def not_worse(self, metric: GateMetric, margin: float) -> Crossing | None:
        """The first proof that treatment is not worse by this margin, or by a smaller one."""
        for crossing in self.crossings:
            if (
                crossing.metric == metric
                and crossing.margin is not None
                and crossing.margin <= margin
            ):
                return crossing
        return None

    def update(self, evidence: Iterable[MetricEvidence], at_ms: int) -> Latch:
        """With what is proved for the first time at this look."""
        added = []
        for e in evidence:
            if e.harm_e_value >= e.harm_threshold and self.harm(e.metric) is None:
                added.append(
                    Crossing(e.metric, None, at_ms, e.harm_e_value, e.harm_threshold, e.harm_counts)
                )
            if e.pass_e_value >= e.pass_threshold and self.not_worse(e.metric, e.margin) is None:
                added.append(
                    Crossing(
                        e.metric, e.margin, at_ms, e.pass_e_value, e.pass_threshold, e.pass_counts
                    )
                )
        return Latch((*self.crossings, *added))


@dataclass(frozen=True, slots=True)
class GateConditions:
    """What a gate needs to know besides the metrics.

    Attributes:
        at_ms: The time of the look.
        step_ms: How long the present weight, or shadow, has been in force.
        treatment_units: Settled units of treatment that were first assigned at the present weight;
            of a shadow, units with a copied image.
        lost_share: The share of exposures that recording dropped or missed, 0 to 1.
        covers_experiment: Whether the counts are of the whole experiment.
        candidate_is_up: Whether the candidate has a replica that answers.
        srm: None for a shadow, which assigns no units.
        units_with_feedback: Settled units of both arms that said anything.
    """

    at_ms: int
    step_ms: int
    treatment_units: int
    lost_share: float
    covers_experiment: bool
    candidate_is_up: bool
    srm: Srm | None
    units_with_feedback: int


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Attributes:
    reasons: Sentences, at least one.
    latch: With the crossings of this look; to be kept for the next one.
    """

    action: Action
    reasons: tuple[str, ...]
    latch: Latch


def margin_at(metric: GateMetric, weight: float, units_per_day: float | None = None) -> float:
    """The margin of a metric of a canary at a weight.

    Args:
        units_per_day: New units of both arms; None if not known.
    """
    small, medium, large = MARGINS[metric]
    if weight <= MARGIN_WEIGHTS[0]:
        return small
    is_small = units_per_day is not None and units_per_day < SMALL_UNITS_PER_DAY
    return medium if weight <= MARGIN_WEIGHTS[1] or is_small else large


def judge(
    metric: GateMetric, until_now: GateCell, settled: GateCell, margin: float
) -> MetricEvidence:
    """The evidence of a metric of a canary, from the counts of all its steps so far.

    Args:
        until_now: All units, by the weight of the epoch of their first assignment. An event counts
            if it happened in this epoch, before the unit settled: later the unit may have the other
            version.
        settled: Settled units that kept their version, by the weight of their random split. An
            event counts if it happened before the unit settled.
        margin: See `margin_at`.
    """
    return MetricEvidence(
        metric,
        float(harm_e_value(until_now)),
        1 / ROLLBACK_ALPHA[metric],
        _total(until_now),
        float(non_inferiority_e_value(settled, margin)),
        1 / PASS_ALPHA,
        _total(settled),
        margin,
        _rates(settled),
    )


def judge_disagreement(
    disagreements: float, images: float, limit: float = DISAGREEMENT_LIMIT
) -> MetricEvidence:
    """The evidence of a shadow: is the share of copied images with another label above the limit?

    Args:
        disagreements, images: Of independent images, or effective numbers of weighted ones.
    """
    counts = EventCounts(0, 0, images, disagreements)
    successes, trials = np.array(disagreements), np.array(images)
    return MetricEvidence(
        GateMetric.DISAGREEMENT,
        float(above_limit_e_value(successes, trials, limit)),
        1 / ROLLBACK_ALPHA[GateMetric.DISAGREEMENT],
        counts,
        float(below_limit_e_value(successes, trials, limit)),
        1 / PASS_ALPHA,
        counts,
        limit,
        Rates(None, disagreements / images if images else None),
    )


def decide(
    evidence: Iterable[MetricEvidence], conditions: GateConditions, latch: Latch
) -> GateDecision:
    """Decide at one look; the first that applies:

        roll back: harm of some metric is proved, now or before
        pass:      every metric is proved not to be worse by its margin, now or before, and nothing
                   else is lacking
        hold:      otherwise

    Harm is acted on whatever else is lacking: a rollback is the safe side of an error.
    """
    metrics = tuple(evidence)
    latch = latch.update(metrics, conditions.at_ms)
    harms = [crossing for crossing in latch.crossings if crossing.margin is None]
    if harms:
        reasons = tuple(_harm_sentence(harm, conditions.at_ms) for harm in harms)
        return GateDecision(Action.ROLL_BACK, reasons, latch)
    lacking = [*_lacking(metrics, conditions)]
    proofs = []
    for e in metrics:
        crossing = latch.not_worse(e.metric, e.margin)
        if crossing is None:
            lacking.append(_open_sentence(e))
        else:
            proofs.append(_pass_sentence(e, crossing, conditions.at_ms))
    if lacking:
        return GateDecision(Action.HOLD, tuple(lacking), latch)
    return GateDecision(Action.PASS, tuple(proofs), latch)


def _lacking(metrics: tuple[MetricEvidence, ...], at: GateConditions) -> Iterable[str]:
    """Why the gate cannot pass, whatever the e-values say."""
    if not metrics:
        yield "No metric is judged."
    if not at.candidate_is_up:
        yield "The candidate is down."
    if not at.covers_experiment:
        yield "The counts are of a part of the experiment: its whole time is needed."
    if at.lost_share > MAX_LOST_SHARE:
        yield (
            f"{_percent(at.lost_share)} of the exposures were not recorded:"
            f" at most {_percent(MAX_LOST_SHARE)} may be lacking."
        )
    if at.srm is not None and at.srm.is_invalid:
        yield _srm_sentence(at.srm)
    if not at.units_with_feedback and any(e.metric is GateMetric.COMPLAINTS for e in metrics):
        yield "No unit gave feedback: whether complaints arrive at all is not known."
    if at.step_ms < MIN_STEP_MS:
        yield f"This step has lasted {_hours(at.step_ms)} of {_hours(MIN_STEP_MS)}."
    if at.treatment_units < MIN_TREATMENT_UNITS:
        yield (
            f"The candidate has {at.treatment_units:,} settled units of this step:"
            f" {MIN_TREATMENT_UNITS} are needed."
        )


def _srm_sentence(srm: Srm) -> str:
    few = srm.treatment < srm.expected
    cause = "a crash of the candidate loses its records" if few else "records of stable are lost"
    return (
        f"Sample ratio mismatch: the candidate has {srm.treatment:,} units, {srm.expected:,.0f}"
        f" were expected (p = {srm.p:.1g}). It has too {'few' if few else 'many'}; perhaps {cause}."
    )


def _harm_sentence(harm: Crossing, at_ms: int) -> str:
    n = harm.counts
    numbers = f"{n.treatment_events:,.0f} of {n.treatment_units:,.0f} in the candidate"
    if harm.metric is not GateMetric.DISAGREEMENT:
        numbers += f", {n.control_events:,.0f} of {n.control_units:,.0f} in stable"
    return f"{_NOUNS[harm.metric]}: harm is proved; {numbers} ({_proof(harm, at_ms)})."


def _pass_sentence(evidence: MetricEvidence, proof: Crossing, at_ms: int) -> str:
    return (
        f"{_NOUNS[evidence.metric]}: proved to be {_claim(evidence)};"
        f" {_values(evidence)} ({_proof(proof, at_ms)})."
    )


def _open_sentence(evidence: MetricEvidence) -> str:
    return (
        f"{_NOUNS[evidence.metric]}: not proved yet to be {_claim(evidence)}; {_values(evidence)}"
        f" (e-value {evidence.pass_e_value:.3g}, proof from {evidence.pass_threshold:.3g} on)."
    )


def _claim(evidence: MetricEvidence) -> str:
    if evidence.metric is GateMetric.DISAGREEMENT:
        return f"below {_percent(evidence.margin)}"
    points = f"{100 * evidence.margin:.3g}"
    return f"less than {points} point{'' if points == '1' else 's'} worse"


def _values(evidence: MetricEvidence) -> str:
    if evidence.rates.treatment is None:
        return "nothing is settled yet"
    text = f"{_percent(evidence.rates.treatment)} in the candidate"
    control = evidence.rates.control
    return text if control is None else f"{text}, {_percent(control)} in stable"


def _proof(crossing: Crossing, at_ms: int) -> str:
    text = f"e-value {crossing.e_value:.3g}, proof from {crossing.threshold:.3g} on"
    ago_ms = at_ms - crossing.at_ms
    return f"{text}, {_hours(ago_ms)} ago" if ago_ms else text


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _hours(duration_ms: int) -> str:
    return f"{10 * duration_ms // HOUR_MS / 10:g} h"


def _total(cells: GateCell) -> EventCounts:
    return EventCounts(
        float(cells.control_units.sum()),
        float(cells.control_events.sum()),
        float(cells.treatment_units.sum()),
        float(cells.treatment_events.sum()),
    )


def _rates(cells: GateCell) -> Rates:
    """Of the cells that have units of both arms."""
    both = (cells.control_units > 0) & (cells.treatment_units > 0)
    if not both.any():
        return Rates(None, None)
    units = cells.treatment_units[both]
    control = cells.control_events[both] / cells.control_units[both]
    return Rates(
        float((units * control).sum() / units.sum()),
        float(cells.treatment_events[both].sum() / units.sum()),
    )
