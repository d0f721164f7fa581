"""The verdict of an A/B test."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from serve_app.evidence.confidence import Interval, interval
from serve_app.evidence.power import units_to_decide
from serve_app.evidence.preference import BoundedComparison, LabelGroups, Preference
from serve_app.evidence.srm import Srm
from serve_app.evidence.verdict import (
    Finding,
    Measure,
    Pace,
    Verdict,
    decide,
    outlook,
)

MIN_RESPONDERS = 10  # settled units with feedback that has the metric, in both arms together
_EVENTS = {"complaint": "complaints", "correct": "confirmed predictions"}
_VERBS = {"complaint": "reported", "correct": "confirmed"}


class _Lines(NamedTuple):
    """The verdicts on all events and on each group."""

    overall: Verdict
    shared: Verdict
    new: Verdict

    def which(self, finding: Finding) -> str:
        """The lines with a finding."""
        names = ("all labels together", "shared labels", "new labels")
        lines = zip(names, self, strict=True)
        return " and on ".join(name for name, line in lines if line.finding is finding)


@dataclass(frozen=True, slots=True)
class Collected:
    """What an A/B test has collected.

    Attributes:
        srm: Of the units.
        feedback_srm: Of the settled units with feedback.
        answers: Predictions by the split.
        answers_with_metric: Those with feedback that has the metric.
        settled, settling: Units.
        settles: When the settling units will count, a clause.
    """

    srm: Srm
    feedback_srm: Srm
    answers: int
    answers_with_metric: int
    settled: int
    settling: int
    settles: str


@dataclass(frozen=True, slots=True)
class PreferenceVerdict:
    """Attributes:
    verdict: Of the test.
    shared, new: Of each group of labels; None if the test has no groups.
    units_to_decide: The units of both arms that decide the test, if the estimates stay; None if it
        is decided, if nothing can be said yet, or if no number does.
    """

    verdict: Verdict
    shared: Verdict | None = None
    new: Verdict | None = None
    units_to_decide: int | None = None

    def without_verdict(self, reason: str) -> PreferenceVerdict:
        """Nothing is known.

        Args:
            reason: A sentence that says why.
        """
        group = None if self.shared is None else Verdict(Finding.NOT_KNOWN, "not known.")
        return PreferenceVerdict(Verdict(Finding.NOT_KNOWN, reason), group, group)


def decide_preference(
    preference: Preference, measure: Measure, collected: Collected, pace: Pace | None
) -> PreferenceVerdict:
    """Decide an A/B test.

    There is no verdict with an SRM, without settled units, or with fewer than `MIN_RESPONDERS` of
    them that gave feedback with the metric: silence is not consent. A test by `correct` keeps going
    if the feedback has an SRM, because it may then compare who answers. For complaints this does
    not matter: fewer of them are the outcome.

    With groups of labels, treatment is worse if it is worse on all events, on shared or on new
    labels. It is better if it is better on shared or on new labels and not worse on shared ones.
    There is no difference if there is none on either group. That treatment is better on all events
    is not enough: it may be worse for users who never send an image with a new label.

    If so many events have an unknown label that no number of units decides by group, all events
    decide, unless treatment is worse on a group.

    Args:
        pace: How fast more units come; None if the test has ended.
    """
    found = _decide(preference, measure, collected.srm, pace)
    if found.verdict.finding is Finding.INVALID:
        return found
    if nothing := _why_not_known(preference, collected):
        return found.without_verdict(nothing)
    if preference.metric == "correct" and collected.feedback_srm.is_invalid:
        held = Verdict(Finding.KEEP_GOING, _response_sentence(collected.feedback_srm))
        return replace(found, verdict=held, units_to_decide=None)
    return found


def _why_not_known(preference: Preference, collected: Collected) -> str | None:
    """Why nothing can be said yet, whatever the comparisons say; None if something can."""
    if not collected.settled:
        if not collected.settling:
            return "there are no units to compare."
        return f"none of {collected.settling:,} units is settled yet: {collected.settles}."
    responders = preference.responders.units
    if responders >= MIN_RESPONDERS:
        return None
    settling = f"; {collected.settling:,} more are settling" if collected.settling else ""
    return (
        f"feedback on {collected.answers_with_metric:,} of {collected.answers:,} answers, from"
        f" {responders:,} of {collected.settled:,} settled units: at least {MIN_RESPONDERS} are"
        f" needed{settling}."
    )


def _response_sentence(srm: Srm) -> str:
    return (
        "the versions get feedback from different shares of their units:"
        f" {srm.treatment:,} of {srm.control + srm.treatment:,} units with feedback are in"
        f" treatment, {srm.expected:,.0f} were expected (p = {srm.p:.1g}). Confirmations then"
        " compare who answers, not who is right."
    )


def _decide(
    preference: Preference, measure: Measure, srm: Srm, pace: Pace | None
) -> PreferenceVerdict:
    """The verdict by the comparisons."""
    overall, groups = preference.overall, preference.groups
    all_units = preference.responders.coverage
    compared = replace(
        overall.reported,
        units_control=all_units.units_control,
        units_treatment=all_units.units_treatment,
    )
    by_all = decide(
        measure,
        compared,
        overall.interval,
        srm,
        pace,
        possible=overall.possible,
        undecidable=undecidable(preference, measure),
    )
    if groups is None:
        needed = units_to_decide(compared, measure.tolerance, measure.alpha, overall.possible)
        is_open = by_all.finding is Finding.KEEP_GOING
        return PreferenceVerdict(by_all, units_to_decide=needed if is_open else None)
    shared, new = (
        _decide_group(group, name, preference, groups, measure, srm)
        for name, group in (("shared labels", groups.shared), ("new labels", groups.new))
    )
    return _combine(_Lines(by_all, shared, new), preference, groups, measure, pace)


def undecidable(preference: Preference, measure: Measure) -> str | None:
    """Why no number of units can decide by all events, if it is so: units that did not rate."""
    if _can_decide(preference.overall, measure) or not preference.overall.is_bounded:
        return None
    coverage = preference.responders.coverage
    return (
        f"{100 * (1 - coverage.control):.0f} % of the units in control and"
        f" {100 * (1 - coverage.treatment):.0f} % in treatment did not rate, and their ratings may"
        " be anything"
    )


def _decide_group(
    group: BoundedComparison,
    name: str,
    preference: Preference,
    groups: LabelGroups,
    measure: Measure,
    srm: Srm,
) -> Verdict:
    """The finding of a group, with a sentence that says what it lacks."""
    found = decide(measure, group.reported, group.interval, srm)
    if found.finding is Finding.INVALID:
        return found
    if group is groups.new and not (group.reported.control or group.reported.treatment):
        text = f"no {' or '.join(groups.new_labels)} was {_VERBS[preference.metric]}"
    elif found.finding in (Finding.BETTER, Finding.WORSE):
        text = f"treatment is {found.finding}"
    elif found.finding is Finding.NO_DIFFERENCE:
        text = f"no difference beyond ±{measure.limit}"
    elif found.is_not_worse:
        text = f"treatment is not worse by {measure.limit} or more"
    else:
        text = "not decided" + ("" if _can_decide(group, measure) else " with any number of units")
    if found.finding in (Finding.KEEP_GOING, Finding.NOT_KNOWN) and groups.unknown_events:
        events = f"{groups.unknown_events:,} of {groups.events:,} {_EVENTS[preference.metric]}"
        text += f": {events} came without a label"
    return replace(found, sentence=f"{name}: {text}.")


def _combine(
    lines: _Lines, preference: Preference, groups: LabelGroups, measure: Measure, pace: Pace | None
) -> PreferenceVerdict:
    """The verdict of a test with groups of labels; see `decide_preference`."""
    overall, shared, new = lines
    findings = {line.finding for line in lines}
    if Finding.INVALID in findings or findings == {Finding.NOT_KNOWN}:
        return PreferenceVerdict(overall, shared, new)
    if Finding.WORSE in findings:
        text = f"treatment is worse on {lines.which(Finding.WORSE)}."
        return PreferenceVerdict(Verdict(Finding.WORSE, text), shared, new)
    needs = _Needs.of(preference.overall, measure)
    of_shared, of_new = (_Needs.of(group, measure) for group in (groups.shared, groups.new))
    by_groups = min(
        of_shared.worse,
        of_new.worse,
        max(min(of_shared.better, of_new.better), of_shared.not_worse),
        max(of_shared.no_difference, of_new.no_difference),
    )
    if math.isfinite(by_groups):
        needed = min(by_groups, needs.worse)
        found, note = _decide_by_groups(lines, measure), ""
    else:
        can_be_not_worse = math.isfinite(of_shared.not_worse)
        better = max(needs.better, of_shared.not_worse if can_be_not_worse else 0)
        needed = min(needs.worse, better, needs.no_difference)
        found = _decide_by_all(overall, shared, can_be_not_worse, measure)
        note = "; shared labels alone are not decided"
    units = None
    if found.finding is Finding.KEEP_GOING:
        units = None if math.isinf(needed) else int(needed)
        note = f"; {outlook(preference.overall.reported, units, pace, None)}{note}"
    verdict = replace(found, sentence=f"{found.sentence}{note}.")
    return PreferenceVerdict(verdict, shared, new, units)


def _decide_by_groups(lines: _Lines, measure: Measure) -> Verdict:
    """The verdict by shared and new labels; a sentence without a full stop."""
    _, shared, new = lines
    not_worse = f"not worse on shared labels by {measure.limit} or more"
    if shared.finding is new.finding is Finding.NO_DIFFERENCE:
        text = f"no difference beyond ±{measure.limit}, neither on shared nor on new labels"
        return Verdict(Finding.NO_DIFFERENCE, text, shared.is_not_worse)
    if not shared.is_not_worse:
        return Verdict(Finding.KEEP_GOING, "not decided on shared labels")
    if shared.finding is Finding.BETTER:
        return Verdict(Finding.BETTER, "treatment is better on shared labels", shared.is_not_worse)
    if new.finding is Finding.BETTER:
        text = f"treatment is better on new labels, and {not_worse}"
        return Verdict(Finding.BETTER, text, shared.is_not_worse)
    text = f"treatment is {not_worse}; not decided on new labels"
    return Verdict(Finding.KEEP_GOING, text, shared.is_not_worse)


def _decide_by_all(
    overall: Verdict, shared: Verdict, can_be_not_worse: bool, measure: Measure
) -> Verdict:
    """The verdict by all events, where no number of units decides the groups.

    Args:
        can_be_not_worse: Whether enough units show that treatment is not worse on shared labels. It
            is then not better before they do.
    """
    if overall.finding is Finding.NO_DIFFERENCE:
        return replace(
            overall, sentence=f"no difference beyond ±{measure.limit} on all labels together"
        )
    if overall.finding is Finding.BETTER and (shared.is_not_worse or not can_be_not_worse):
        return replace(overall, sentence="treatment is better on all labels together")
    return Verdict(Finding.KEEP_GOING, "not decided on all labels together")


@dataclass(frozen=True, slots=True)
class _Needs:
    """The units of both arms with which a comparison would show something, if its estimates stay;
    infinite if no number does.
    """

    worse: float
    better: float
    not_worse: float
    no_difference: float

    @classmethod
    def of(cls, bounded: BoundedComparison, measure: Measure) -> _Needs:
        harm, tolerance = measure.harm(bounded.possible), measure.tolerance
        half_widths = (
            harm.low,
            -harm.high,
            tolerance - harm.high,
            min(tolerance - harm.high, tolerance + harm.low),
        )
        return cls(*(_units_for(bounded, half, measure.alpha) for half in half_widths))


def _units_for(bounded: BoundedComparison, half_width: float, alpha: float) -> float:
    """The units with which the interval extends less than `half_width` beyond what is possible.

    The interval of a bounded difference is taken to narrow as that of the reported one.
    """
    if not half_width > 0:
        return math.inf
    now = max(
        bounded.interval.high - bounded.possible.high, bounded.possible.low - bounded.interval.low
    )
    if half_width > now:
        return bounded.reported.units
    reported = interval(bounded.reported, alpha)
    scale = (reported.high - reported.low) / 2 / now
    needed = units_to_decide(bounded.reported, half_width * scale, alpha, Interval(0, 0))
    return math.inf if needed is None else needed


def _can_decide(bounded: BoundedComparison, measure: Measure) -> bool:
    """Whether enough units decide, if the estimates stay."""
    harm = measure.harm(bounded.possible)
    is_within = -measure.tolerance < harm.low and harm.high < measure.tolerance
    return harm.low > 0 or harm.high < 0 or is_within
