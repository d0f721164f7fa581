"""Intervals of rare events, and without any event."""

from __future__ import annotations

import numpy as np

from serve_app.evidence.comparison import compare
from serve_app.evidence.confidence import (
    ALPHA,
    Interval,
    interval,
    no_event_difference,
    share_difference,
)
from serve_app.evidence.events import event_interval
from serve_app.evidence.units import UnitSums


def units(control: int, treatment: int, epoch: int = 1, events: int = 0) -> UnitSums:
    """Units with five exposures each; the first ones of treatment have an event."""
    treated = np.repeat([False, True], [control, treatment])
    y = np.zeros(control + treatment)
    y[control : control + events] = 1
    return UnitSums(
        1000 * epoch + np.arange(len(treated)),
        np.full(len(treated), epoch),
        treated,
        np.full(len(treated), 5.0),
        y,
    )


def concatenate(one: UnitSums, other: UnitSums) -> UnitSums:
    names = ("unit", "stratum", "treated", "x", "y")
    return UnitSums(*(np.concatenate([getattr(one, n), getattr(other, n)]) for n in names))


def interval_of(sums: UnitSums) -> Interval:
    return event_interval(compare(sums), sums)


def test_without_events_unit_shares_give_the_interval() -> None:
    assert interval_of(units(900, 100)) == share_difference((0, 900), (0, 100))


def test_without_events_epochs_with_different_weights_are_not_pooled() -> None:
    both = concatenate(units(900, 100), units(500, 500, epoch=2))
    expected = no_event_difference(np.array([900.0, 500.0]), np.array([100.0, 500.0]))
    assert interval_of(both) == expected
    assert (
        interval_of(concatenate(both, units(50, 0, epoch=3))) == expected
    )  # no treatment in epoch 3


def test_with_events_the_interval_is_that_of_the_comparison() -> None:
    sums = units(900, 100, events=3)
    assert interval_of(sums) == interval(compare(sums))


def test_a_smaller_alpha_widens_the_interval() -> None:
    sums = units(900, 100)
    alone, one_of_eight = interval_of(sums), event_interval(compare(sums), sums, ALPHA / 8)
    assert one_of_eight.low < alone.low < alone.high < one_of_eight.high


def test_without_units_nothing_is_known() -> None:
    assert not interval_of(units(0, 0)).is_known
