"""Which version do users prefer? An A/B test in two lines: shared labels, and new ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from serve_app.evidence.comparison import Comparison
from serve_app.evidence.confidence import ALPHA, Interval, interval, no_event_difference
from serve_app.evidence.means import Groups
from serve_app.evidence.outcome import RANGE, Assigned, FeedbackRows, Metric, Truth
from serve_app.evidence.srm import Srm
from serve_app.evidence.units import Flags, Ints, totals
from serve_app.evidence.verdict import Direction, Finding, Measure, Verdict, decide, mismatch


@dataclass(frozen=True, slots=True)
class Line:
    """A share of the assigned units, in both arms.

    Attributes:
        told: Of events whose truth was told.
        interval: Of the difference, always valid, wherever the events belong whose truth was not:
            its low end has all of control's in this line and none of treatment's, its high end the
            other way round.
    """

    told: Comparison
    interval: Interval


@dataclass(frozen=True, slots=True)
class Responders:
    """Those who said something of the metric. They chose to; what they say is secondary.

    Attributes:
        coverage: The share of assigned units that did, in both arms.
        among: The mean of their own means.
        among_interval: Of its difference, always valid for those who spoke.
        interval: Of the difference in all assigned units, always valid whatever the silent would
            have said: its low end has control's silent at the metric's top and treatment's at its
            bottom, its high end the other way round.
    """

    coverage: Comparison
    among: Comparison
    among_interval: Interval
    interval: Interval


@dataclass(frozen=True, slots=True)
class Preference:
    """Attributes:
    overall: All events; for ratings, which have no events, those who spoke, with the interval
        that holds for all.
    shared, new: By truth. None if the versions know the same labels, and for ratings.
    untold: Events whose truth was not told; None like these.
    """

    metric: Metric
    overall: Line
    shared: Line | None
    new: Line | None
    untold: Line | None
    responders: Responders


@dataclass(frozen=True, slots=True)
class PreferenceVerdict:
    """Attributes:
    verdict: Of the test.
    shared, new: Of the lines, if there are lines.
    """

    verdict: Verdict
    shared: Verdict | None
    new: Verdict | None


def measure(metric: Metric, direction: Direction, min_effect: float) -> Measure:
    """The measure of a rule's outcome; `min_effect` is a share of units, or a part of a rating."""
    match metric:
        case "complaint":
            return Measure("units with a complaint", direction, min_effect)
        case "correct":
            return Measure("units that said an answer is right", direction, min_effect)
        case "rating":
            return Measure("mean rating of those who rated", direction, min_effect, "of 5")


def responders_measure(metric: Metric) -> str:
    """What `Responders.among` compares."""
    match metric:
        case "complaint":
            return "complaints, of a unit's words"
        case "correct":
            return "answers said to be right, of a unit's words"
        case "rating":
            return "mean rating, of a unit's words"


def prefer(
    assigned: Assigned,
    words: FeedbackRows,
    metric: Metric,
    new: Collection[str],
    alpha: float = ALPHA,
) -> Preference:
    """Compare what the units of both arms said.

    Args:
        words: Within the window, of assigned units alone.
        new: The labels that only treatment knows.

    Raises:
        ValueError: A word is of a unit that was not assigned.
    """
    row = assigned.rows(words.unit)
    responders = _responders(assigned, words, row, metric, alpha)
    if metric == "rating":
        overall = Line(responders.among, responders.interval)
        return Preference(metric, overall, None, None, None, responders)
    event = words.values(metric) == 1
    truth = words.truths(new)
    untold = event & (truth == Truth.UNTOLD)
    nothing = np.zeros_like(event)

    def line(rows: Flags, possible: Flags) -> Line:
        return _line(assigned, row[rows], row[possible], alpha)

    return Preference(
        metric,
        overall=line(event, nothing),
        shared=line(event & (truth == Truth.SHARED), untold) if new else None,
        new=line(event & (truth == Truth.NEW), untold) if new else None,
        untold=line(untold, nothing) if new else None,
        responders=responders,
    )


def prefer_overall(
    assigned: Assigned, words: FeedbackRows, metric: Metric, alpha: float = ALPHA
) -> Line:
    """The line of all events alone; see `Preference`."""
    row = assigned.rows(words.unit)
    if metric == "rating":
        responders = _responders(assigned, words, row, metric, alpha)
        return Line(responders.among, responders.interval)
    return _line(assigned, row[words.values(metric) == 1], row[:0], alpha)


def judge(preference: Preference, measured: Measure, srm: Srm) -> PreferenceVerdict:
    """First: is treatment not worse on shared labels? Then: is it better on either line?

    Treatment is worse if it is on either line; better if it is on one, and on shared labels not
    worse; no different if it is on no line. What is better in sum may be worse for those who never
    show a koala; hence the sum does not decide. Where nothing came of new labels, shared ones
    decide. Each side of the verdict takes half of alpha on each line, so that it errs with
    probability alpha at most.
    """
    if preference.shared is None or preference.new is None:
        found = decide(measured, preference.overall.told, preference.overall.interval, srm)
        if preference.metric == "rating":
            found = replace(found, sentence=f"{found.sentence} {_caveat(preference, measured)}")
        return PreferenceVerdict(found, None, None)
    shared, new = (
        decide(replace(measured, name=f"{measured.name}, {name}"), line.told, line.interval, srm)
        for name, line in (("shared labels", preference.shared), ("new labels", preference.new))
    )
    if srm.is_invalid:
        return PreferenceVerdict(Verdict(Finding.INVALID, mismatch(srm)), shared, new)
    finding = _together(shared, new)
    sentence = f"Shared labels: {shared.sentence} New labels: {new.sentence}"
    return PreferenceVerdict(Verdict(finding, sentence, shared.is_not_worse), shared, new)


def _together(shared: Verdict, new: Verdict) -> Finding:
    findings = {shared.finding, new.finding} - {Finding.NOT_KNOWN}
    if not findings:
        return Finding.NOT_KNOWN
    if Finding.WORSE in findings:
        return Finding.WORSE
    if Finding.BETTER in findings and shared.is_not_worse:
        return Finding.BETTER
    if findings == {Finding.NO_DIFFERENCE} and shared.is_not_worse:
        return Finding.NO_DIFFERENCE
    return Finding.KEEP_GOING


def _line(assigned: Assigned, told: Ints, possible: Ints, alpha: float) -> Line:
    """Of the rows of assigned units that have an event in the line, and of those that may have."""
    groups, treated = assigned.groups, assigned.treated
    has = _having(assigned, told)
    line = _line_of(groups, has, alpha)
    if not len(possible):
        return line
    either = has | _having(assigned, possible)
    least = _line_of(groups, np.where(treated, has, either), alpha).interval
    greatest = _line_of(groups, np.where(treated, either, has), alpha).interval
    return Line(line.told, Interval(least.low, greatest.high))


def _line_of(groups: Groups, events: Flags, alpha: float) -> Line:
    """Of the shares of units with an event. Where no unit has one, no variance can be estimated,
    and yet much is known."""
    compared = groups.compare(events)
    if events.any():
        return Line(compared, interval(compared, alpha))
    control, treatment = groups.units.T
    return Line(compared, no_event_difference(control, treatment, alpha))


def _responders(
    assigned: Assigned, words: FeedbackRows, row: Ints, metric: Metric, alpha: float
) -> Responders:
    """`row` is that of each word's unit."""
    values = words.values(metric)
    said = ~np.isnan(values)
    groups, treated, units = assigned.groups, assigned.treated, len(assigned.unit)
    spoke = _having(assigned, row[said])
    times = np.bincount(row[said], minlength=units)
    mean = totals(row[said], values[said], units) / np.maximum(times, 1)
    bottom, top = RANGE[metric]
    low, high = np.where(spoke, mean, bottom), np.where(spoke, mean, top)
    least = groups.compare(np.where(treated, low, high))
    greatest = groups.compare(np.where(treated, high, low))
    among = groups.only(spoke).compare(mean[spoke])
    return Responders(
        coverage=groups.compare(spoke),
        among=among,
        among_interval=interval(among, alpha),
        interval=Interval(interval(least, alpha).low, interval(greatest, alpha).high),
    )


def _having(assigned: Assigned, rows: Ints) -> Flags:
    """[n]: which of the assigned units are among some rows."""
    having = np.zeros(len(assigned.unit), np.bool_)
    having[rows] = True
    return having


def _caveat(preference: Preference, measured: Measure) -> str:
    coverage = preference.responders.coverage
    among = preference.responders.among_interval
    return (
        f"It came from {100 * coverage.treatment:.0f} % of the units in treatment and"
        f" {100 * coverage.control:.0f} % in control; the interval holds whatever the others would"
        f" have said. Among those who spoke it is {measured.change(among.low)} to"
        f" {measured.change(among.high)}."
    )
