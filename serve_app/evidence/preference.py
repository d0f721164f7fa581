"""Which version users prefer: the comparisons of an A/B test.

Events on shared labels and on new labels are compared separately; see `outcome`. What they mean for
the test is decided in `preference_verdict`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from serve_app.evidence.comparison import Comparison
from serve_app.evidence.confidence import ALPHA, Interval, interval
from serve_app.evidence.outcome import RANGE, AssignedUnits, FeedbackRows, Metric, Truth
from serve_app.evidence.units import Flags, Floats, Ints, sum_by_code
from serve_app.evidence.untold import ODDS_FACTOR, WORST_CASE, Events, bound_difference
from serve_app.evidence.verdict import Direction, Measure


@dataclass(frozen=True, slots=True)
class BoundedComparison:
    """What is known of the difference of all settled units.

    Attributes:
        reported: What users reported: the shares of units with an event known to be of the group,
            or the mean rating of the units that rated.
        interval: Of the difference, always valid, whatever users did not report is, within bounds:
            for events of an unknown group those of the sensitivity analysis in `untold`, for
            ratings of the other units the whole range.
        possible: The estimates at both bounds; more units do not bring them together.
        worst_case_interval: As `interval`, for whatever users did not report.
    """

    reported: Comparison
    interval: Interval
    possible: Interval
    worst_case_interval: Interval

    @property
    def is_bounded(self) -> bool:
        """Whether something was not reported."""
        return self.possible.low != self.possible.high


@dataclass(frozen=True, slots=True)
class Responders:
    """The units with a value of the metric. They are self-selected: a secondary result.

    Attributes:
        units: How many there are.
        coverage: The share of settled units that responded.
        mean: The mean over responders of each one's mean value.
        mean_interval: Of its difference, always valid, for responders only.
        worst_case: The difference over all settled units, whatever the values of the others are. At
            the low end, those of control have the metric's maximum and those of treatment its
            minimum; at the high end the reverse. `reported` is `mean`.
    """

    units: int
    coverage: Comparison
    mean: Comparison
    mean_interval: Interval
    worst_case: BoundedComparison


@dataclass(frozen=True, slots=True)
class LabelGroups:
    """The events by their true label.

    Attributes:
        new_labels: Those that only treatment has.
        shared, new: Units with an event of the group.
        unknown: Units with an event whose group is unknown.
        events: Predictions with an event.
        unknown_events: Those whose group is unknown.
    """

    new_labels: tuple[str, ...]
    shared: BoundedComparison
    new: BoundedComparison
    unknown: BoundedComparison
    events: int
    unknown_events: int


@dataclass(frozen=True, slots=True)
class Preference:
    """Attributes:
    overall: All events. For ratings, which have no events: `Responders.worst_case`.
    groups: None for ratings, and if no label is new.
    alpha: The error probability of each interval that decides.
    """

    metric: Metric
    overall: BoundedComparison
    groups: LabelGroups | None
    responders: Responders
    alpha: float


def preference_measure(
    metric: Metric, direction: Direction, min_effect: float, alpha: float = ALPHA
) -> Measure:
    """The measure of a rule's outcome.

    Args:
        min_effect: A share of units, or rating points.
    """
    match metric:
        case "complaint":
            return Measure("units with a complaint", direction, min_effect, alpha=alpha)
        case "correct":
            return Measure("units that confirmed a prediction", direction, min_effect, alpha=alpha)
        case "rating":
            name = "mean rating of units that rated"
            return Measure(name, direction, min_effect, "of 5", alpha=alpha)


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

    With groups, three intervals decide. Each has two thirds of alpha, a third on each side: a false
    "better" and a false "worse" each need an error on one side of one interval, so each has a
    probability of at most alpha.

    Args:
        assigned: The settled units.
        feedback: Within the window, of these units only.
        new: The labels that only treatment has.

    Raises:
        ValueError: There is feedback of another unit.
    """
    row = assigned.find_rows(feedback.unit)
    has_groups = bool(new) and metric != "rating"
    of_one = 2 * alpha / 3 if has_groups else alpha
    responders = _compare_responders(assigned, feedback, row, metric, of_one)
    if metric == "rating":
        return Preference(metric, responders.worst_case, None, responders, of_one)
    overall = _compare_events(assigned, row[feedback.values(metric) == 1], of_one)
    groups = _compare_groups(assigned, feedback, row, metric, new, of_one) if has_groups else None
    return Preference(metric, overall, groups, responders, of_one)


def compare_overall(
    assigned: AssignedUnits, feedback: FeedbackRows, metric: Metric, alpha: float = ALPHA
) -> BoundedComparison:
    """`Preference.overall` with its own alpha."""
    row = assigned.find_rows(feedback.unit)
    if metric == "rating":
        return _compare_responders(assigned, feedback, row, metric, alpha).worst_case
    return _compare_events(assigned, row[feedback.values(metric) == 1], alpha)


def _compare_groups(
    assigned: AssignedUnits,
    feedback: FeedbackRows,
    row: Ints,
    metric: Metric,
    new: Collection[str],
    alpha: float,
) -> LabelGroups:
    """The events by group.

    Args:
        row: The row, in `assigned`, of the unit of each row of `feedback`.
    """
    is_event = feedback.values(metric) == 1
    row, rows = row[is_event], feedback.select(is_event)
    truth = rows.truths(new)
    is_unknown = truth == Truth.UNKNOWN
    predicted_new = np.isin(rows.predicted_label, list(new))
    is_told = rows.reported_label != ""

    def compare(group: Truth) -> BoundedComparison:
        known = _compare_events(assigned, row[truth == group], alpha)
        if not is_unknown.any():
            return known
        events = Events(row, predicted_new, truth == group, is_unknown, is_told)
        bounds = bound_difference(assigned.groups, events, ODDS_FACTOR, alpha)
        worst = bound_difference(assigned.groups, events, WORST_CASE, alpha)
        return BoundedComparison(known.reported, bounds.interval, bounds.possible, worst.interval)

    return LabelGroups(
        tuple(sorted(new)),
        shared=compare(Truth.SHARED),
        new=compare(Truth.NEW),
        unknown=_compare_events(assigned, row[is_unknown], alpha),
        events=len(row),
        unknown_events=int(is_unknown.sum()),
    )


def _compare_events(assigned: AssignedUnits, rows: Ints, alpha: float) -> BoundedComparison:
    """The shares of units with an event.

    Args:
        rows: The rows, in `assigned`, of the units with an event.
    """
    compared = assigned.groups.compare(_flag_rows(assigned, rows), (0, 1))
    found = interval(compared, alpha)
    estimate = Interval(compared.difference, compared.difference)
    return BoundedComparison(compared, found, estimate, found)


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
    groups, units = assigned.groups, len(assigned.unit)
    responded = _flag_rows(assigned, row)
    mean = sum_by_code(row, values, units) / np.maximum(np.bincount(row, minlength=units), 1)
    compared = groups.select(responded).compare(mean[responded], RANGE[metric])
    return Responders(
        units=int(responded.sum()),
        coverage=groups.compare(responded, (0, 1)),
        mean=compared,
        mean_interval=interval(compared, alpha),
        worst_case=_bound_mean(assigned, responded, mean, compared, metric, alpha),
    )


def _bound_mean(
    assigned: AssignedUnits,
    responded: Flags,
    mean: Floats,
    reported: Comparison,
    metric: Metric,
    alpha: float,
) -> BoundedComparison:
    """See `Responders.worst_case`."""
    treated, (minimum, maximum) = assigned.treated, RANGE[metric]
    low, high = np.where(responded, mean, minimum), np.where(responded, mean, maximum)
    lowest = assigned.groups.compare(np.where(treated, low, high), RANGE[metric])
    highest = assigned.groups.compare(np.where(treated, high, low), RANGE[metric])
    bounds = Interval(interval(lowest, alpha).low, interval(highest, alpha).high)
    return BoundedComparison(
        reported, bounds, Interval(lowest.difference, highest.difference), bounds
    )


def _flag_rows(assigned: AssignedUnits, rows: Ints) -> Flags:
    """[n]: which of the units are among `rows`."""
    flags = np.zeros(len(assigned.unit), np.bool_)
    flags[rows] = True
    return flags
