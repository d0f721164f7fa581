"""Which version users prefer: the comparison and verdict of an A/B test.

Events on shared labels and on new labels are compared separately; see `outcome`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from serve_app.evidence.comparison import Comparison
from serve_app.evidence.confidence import ALPHA, Interval, interval, no_event_difference
from serve_app.evidence.means import UnitGroups
from serve_app.evidence.outcome import RANGE, AssignedUnits, FeedbackRows, Metric, Truth
from serve_app.evidence.srm import Srm
from serve_app.evidence.units import Flags, Ints, sum_by_code
from serve_app.evidence.verdict import (
    Direction,
    Finding,
    Measure,
    Verdict,
    decide,
    srm_sentence,
)


@dataclass(frozen=True, slots=True)
class BoundedComparison:
    """The share of assigned units with an event of one group, with worst-case bounds.

    Attributes:
        reported: Of the events whose group is known.
        interval: Of the difference, always valid, whatever the group of the other events is. Its
            low end counts all unknown events of control in this group and none of treatment, its
            high end the reverse: the bounds of Manski (Partial Identification of Probability
            Distributions, 2003).
    """

    reported: Comparison
    interval: Interval


@dataclass(frozen=True, slots=True)
class Responders:
    """The units with a value of the metric. They are self-selected: a secondary result.

    Attributes:
        coverage: The share of assigned units that responded.
        mean: The mean over responders of each one's mean value.
        mean_interval: Of its difference, always valid, for responders only.
        worst_case_interval: Of the difference over all assigned units, always valid, whatever the
            values of the non-responders are. Its low end gives the non-responders of control the
            metric's maximum and those of treatment its minimum, its high end the reverse.
    """

    coverage: Comparison
    mean: Comparison
    mean_interval: Interval
    worst_case_interval: Interval


@dataclass(frozen=True, slots=True)
class Preference:
    """Attributes:
    overall: All events. For ratings, which have no events: the mean of responders, with the
        worst-case interval over all assigned units.
    shared, new: Events by true label; None for ratings, and if no label is new.
    unknown: Events whose true label is unknown; None in the same cases.
    """

    metric: Metric
    overall: BoundedComparison
    shared: BoundedComparison | None
    new: BoundedComparison | None
    unknown: BoundedComparison | None
    responders: Responders


@dataclass(frozen=True, slots=True)
class PreferenceVerdict:
    """Attributes:
    verdict: Of the test.
    shared, new: Of each group of labels; None if the test has no groups.
    """

    verdict: Verdict
    shared: Verdict | None
    new: Verdict | None


def preference_measure(metric: Metric, direction: Direction, min_effect: float) -> Measure:
    """The measure of a rule's outcome.

    Args:
        min_effect: A share of units, or rating points.
    """
    match metric:
        case "complaint":
            return Measure("units with a complaint", direction, min_effect)
        case "correct":
            return Measure("units that confirmed a prediction", direction, min_effect)
        case "rating":
            return Measure("mean rating of units that rated", direction, min_effect, "of 5")


def responders_measure(metric: Metric) -> str:
    """The name of what `Responders.mean` compares."""
    match metric:
        case "complaint":
            return "mean share of a unit's feedback with a complaint"
        case "correct":
            return "mean share of a unit's feedback that confirms the prediction"
        case "rating":
            return "mean of a unit's mean rating"


def compare_preference(
    assigned: AssignedUnits,
    feedback: FeedbackRows,
    metric: Metric,
    new: Collection[str],
    alpha: float = ALPHA,
) -> Preference:
    """Compare the feedback of both arms, overall and by group of labels.

    Args:
        feedback: Within the window, of assigned units only.
        new: The labels that only treatment has.

    Raises:
        ValueError: There is feedback of a unit that was not assigned.
    """
    row = assigned.find_rows(feedback.unit)
    responders = _compare_responders(assigned, feedback, row, metric, alpha)
    if metric == "rating":
        overall = BoundedComparison(responders.mean, responders.worst_case_interval)
        return Preference(metric, overall, None, None, None, responders)
    is_event = feedback.values(metric) == 1
    truth = feedback.truths(new)
    is_unknown = is_event & (truth == Truth.UNKNOWN)
    none = np.zeros_like(is_event)

    def compare(rows: Flags, possible: Flags) -> BoundedComparison:
        return _compare_events(assigned, row[rows], row[possible], alpha)

    return Preference(
        metric,
        overall=compare(is_event, none),
        shared=compare(is_event & (truth == Truth.SHARED), is_unknown) if new else None,
        new=compare(is_event & (truth == Truth.NEW), is_unknown) if new else None,
        unknown=compare(is_unknown, none) if new else None,
        responders=responders,
    )


def compare_overall(
    assigned: AssignedUnits, feedback: FeedbackRows, metric: Metric, alpha: float = ALPHA
) -> BoundedComparison:
    """Only `Preference.overall`."""
    row = assigned.find_rows(feedback.unit)
    if metric == "rating":
        responders = _compare_responders(assigned, feedback, row, metric, alpha)
        return BoundedComparison(responders.mean, responders.worst_case_interval)
    return _compare_events(assigned, row[feedback.values(metric) == 1], row[:0], alpha)


def decide_preference(preference: Preference, measure: Measure, srm: Srm) -> PreferenceVerdict:
    """Combine the verdicts on shared and on new labels.

    Treatment is worse if it is worse on either group. It is better if it is better on either group
    and not worse on shared labels. There is no difference if there is none on either group. If new
    labels have no data, shared labels decide. The sum of both groups does not decide: treatment may
    be better in sum and worse for users who never send an image with a new label.

    Each side of a group's interval has an error probability of alpha / 2. A false "better" and a
    false "worse" each need an error on one side in one of two groups, so each has a probability of
    at most alpha.
    """
    if preference.shared is None or preference.new is None:
        overall = preference.overall
        found = decide(measure, overall.reported, overall.interval, srm)
        if preference.metric == "rating":
            note = _coverage_sentence(preference.responders, measure)
            found = replace(found, sentence=f"{found.sentence} {note}")
        return PreferenceVerdict(found, None, None)
    shared, new = (
        decide(
            replace(measure, name=f"{measure.name}, {name}"), group.reported, group.interval, srm
        )
        for name, group in (("shared labels", preference.shared), ("new labels", preference.new))
    )
    if srm.is_invalid:
        return PreferenceVerdict(Verdict(Finding.INVALID, srm_sentence(srm)), shared, new)
    finding = _combine_findings(shared, new)
    sentence = f"Shared labels: {shared.sentence} New labels: {new.sentence}"
    return PreferenceVerdict(Verdict(finding, sentence, shared.is_not_worse), shared, new)


def _combine_findings(shared: Verdict, new: Verdict) -> Finding:
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


def _compare_events(
    assigned: AssignedUnits, known: Ints, possible: Ints, alpha: float
) -> BoundedComparison:
    """The shares of units with an event of a group.

    Args:
        known: The rows, in `assigned`, of units with an event of the group.
        possible: Those of units with an event whose group is unknown.
    """
    groups, treated = assigned.groups, assigned.treated
    has_event = _flag_rows(assigned, known)
    found = _compare_shares(groups, has_event, alpha)
    if not len(possible):
        return found
    may_have_event = has_event | _flag_rows(assigned, possible)
    lowest = _compare_shares(groups, np.where(treated, has_event, may_have_event), alpha)
    highest = _compare_shares(groups, np.where(treated, may_have_event, has_event), alpha)
    return BoundedComparison(found.reported, Interval(lowest.interval.low, highest.interval.high))


def _compare_shares(groups: UnitGroups, has_event: Flags, alpha: float) -> BoundedComparison:
    """The shares of units with an event. Without any, `no_event_difference` gives the interval."""
    compared = groups.compare(has_event)
    if has_event.any():
        return BoundedComparison(compared, interval(compared, alpha))
    control, treatment = groups.unit_counts.T
    return BoundedComparison(compared, no_event_difference(control, treatment, alpha))


def _compare_responders(
    assigned: AssignedUnits, feedback: FeedbackRows, row: Ints, metric: Metric, alpha: float
) -> Responders:
    """The means of responders.

    Args:
        row: The row, in `assigned`, of the unit of each row of `feedback`.
    """
    values = feedback.values(metric)
    has_value = ~np.isnan(values)
    row, values = row[has_value], values[has_value]
    groups, treated, units = assigned.groups, assigned.treated, len(assigned.unit)
    responded = _flag_rows(assigned, row)
    count = np.bincount(row, minlength=units)
    mean = sum_by_code(row, values, units) / np.maximum(count, 1)
    minimum, maximum = RANGE[metric]
    low, high = np.where(responded, mean, minimum), np.where(responded, mean, maximum)
    lowest = groups.compare(np.where(treated, low, high))
    highest = groups.compare(np.where(treated, high, low))
    compared = groups.select(responded).compare(mean[responded])
    return Responders(
        coverage=groups.compare(responded),
        mean=compared,
        mean_interval=interval(compared, alpha),
        worst_case_interval=Interval(interval(lowest, alpha).low, interval(highest, alpha).high),
    )


def _flag_rows(assigned: AssignedUnits, rows: Ints) -> Flags:
    """[n]: which of the assigned units are among `rows`."""
    flags = np.zeros(len(assigned.unit), np.bool_)
    flags[rows] = True
    return flags


def _coverage_sentence(responders: Responders, measure: Measure) -> str:
    coverage, mean = responders.coverage, responders.mean_interval
    return (
        f"{100 * coverage.treatment:.0f} % of the units in treatment and"
        f" {100 * coverage.control:.0f} % in control responded; the interval holds for any ratings"
        f" of the others. Among responders it is {measure.format_change(mean.low)} to"
        f" {measure.format_change(mean.high)}."
    )
