"""Shares of units with an event of one group of labels, where some events have an unknown label.

A complaint without a label may be about either group of labels. How many of them are about a group
is bounded in two ways:

- in the worst case, all or none of them (Manski, Partial Identification of Probability
  Distributions, 2003);
- by a sensitivity analysis. Among the units of an arm that told a label, the group has certain
  odds. Among the others, they are assumed to be within a factor of `ODDS_FACTOR` of these. This is
  exponential tilting (Scharfstein, Rotnitzky, Robins, JASA 1999): in each arm, the odds of telling
  the label may be that much higher or lower for events of the group than for others.

With fewer than `MIN_TOLD` units that told a label, an arm has the worst case in both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from serve_app.evidence.comparison import UnitGroups
from serve_app.evidence.confidence import Interval, confidence_sequence, interval_variance
from serve_app.evidence.units import Flags, Floats, Ints, Rows, check_columns

ODDS_FACTOR = 2.0
WORST_CASE = math.inf  # as a factor of odds
MIN_TOLD = 10
# With an event of the group and without, added to the told ones (Agresti, Coull, Am. Stat. 1998).
_PSEUDO_UNITS = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Events(Rows):
    """Events, one row for each prediction, and whether they are of the group.

    Attributes:
        row: int64 [m], the row of the unit.
        predicted_new: bool [m], whether the prediction was a new label. Told and untold events are
            compared among predictions of the same kind.
        in_group: bool [m], known to be of the group.
        untold: bool [m], of an unknown group.
        told: bool [m], whether the user told the label.
    """

    row: Ints
    predicted_new: Flags
    in_group: Flags
    untold: Flags
    told: Flags

    def __post_init__(self) -> None:
        check_columns(
            row=self.row,
            predicted_new=self.predicted_new,
            in_group=self.in_group,
            untold=self.untold,
            told=self.told,
        )


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known of a difference of shares, treatment minus control.

    Attributes:
        interval: Always valid, whatever the group of the untold events is within the bounds.
        possible: The estimates at both bounds. More units do not bring them together.
    """

    interval: Interval
    possible: Interval


def bound_difference(groups: UnitGroups, events: Events, factor: float, alpha: float) -> Bounds:
    """Bound the difference of the shares of units with an event of the group.

    The low end has as many untold events of control in the group as `factor` allows, and as few of
    treatment; the high end the reverse.

    Args:
        factor: `ODDS_FACTOR` or another factor above 1, or `WORST_CASE`.
    """
    low, lowest = _compare(groups, events, factor, 1 / factor, alpha)
    high, highest = _compare(groups, events, 1 / factor, factor, alpha)
    interval = Interval(max(lowest.low, -1.0), min(highest.high, 1.0))
    return Bounds(interval if lowest.is_known else lowest, Interval(low, high))


def _compare(
    groups: UnitGroups, events: Events, control: float, treatment: float, alpha: float
) -> tuple[float, Interval]:
    """The estimate of the difference and its interval.

    The share of the group among told events is an estimate itself; `_fill` linearises what it adds.

    Args:
        control, treatment: The factor of the odds of each arm.
    """
    units = len(groups.treated)
    has_event = np.zeros(units, np.bool_)
    has_event[events.row[events.in_group]] = True
    filled, linear = has_event.astype(np.float64), np.zeros(units)
    is_treated = groups.treated[events.row]
    for arm, factor in ((False, control), (True, treatment)):
        for predicted_new in (False, True):
            kind = events.select((is_treated == arm) & (events.predicted_new == predicted_new))
            _fill(kind, factor, has_event, filled, linear)
    compared = groups.compare(filled, (0, 1))
    variance = interval_variance(compared, alpha)
    if linear.any():
        variance += max(0.0, groups.compare(filled + linear).variance - compared.variance)
    return compared.difference, confidence_sequence(
        compared.difference, variance, compared.balanced_units, alpha
    )


def _fill(events: Events, factor: float, has_event: Flags, filled: Floats, linear: Floats) -> None:
    """Fill the units with untold events with the probability that they have one of the group.

    With k of T units with told events having one of the group, s = (k + 2) / (T + 4) and the
    factor r, it is

        p(s) = r s / (1 - s + r s)

    The share of such a unit that has an event of the group (1) or none (0) is s on average. To
    first order, its deviation from s adds U p'(s) / T times as much to the sum of U filled units.

    Args:
        events: Of one arm and kind of prediction.
        has_event: [n], units with an event known to be of the group.
        filled, linear: [n], the value of each unit, and what is added to it in first order. Both
            are changed.
    """
    untold = np.unique(events.row[events.untold & ~has_event[events.row]])
    if not len(untold):
        return
    told = np.unique(events.row[events.told])
    if len(told) < MIN_TOLD or factor in (0, WORST_CASE):
        filled[untold] = np.maximum(filled[untold], float(factor > 1))
        return
    in_group = np.isin(told, events.row[events.told & events.in_group]).astype(np.float64)
    share = float(in_group.sum() + _PSEUDO_UNITS) / (len(told) + 2 * _PSEUDO_UNITS)
    scale = 1 - share + factor * share
    filled[untold] = np.maximum(filled[untold], factor * share / scale)
    linear[told] += len(untold) * factor / scale**2 / len(told) * (in_group - share)
