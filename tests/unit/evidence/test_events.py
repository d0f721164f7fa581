"""Failures so rare that there is none: something is known all the same."""

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
    """With five exposures each; the first ones of treatment have an event."""
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


def together(one: UnitSums, other: UnitSums) -> UnitSums:
    names = ("unit", "stratum", "treated", "x", "y")
    return UnitSums(*(np.concatenate([getattr(one, n), getattr(other, n)]) for n in names))


def found(sums: UnitSums) -> Interval:
    return event_interval(compare(sums), sums)


def test_without_events_the_units_tell() -> None:
    assert found(units(900, 100)) == share_difference((0, 900), (0, 100))


def test_without_events_epochs_of_other_weights_are_not_pooled() -> None:
    both = together(units(900, 100), units(500, 500, epoch=2))
    expected = no_event_difference(np.array([900.0, 500.0]), np.array([100.0, 500.0]))
    assert found(both) == expected
    assert found(together(both, units(50, 0, epoch=3))) == expected  # nobody to compare with


def test_with_events_their_spread_tells() -> None:
    sums = units(900, 100, events=3)
    assert found(sums) == interval(compare(sums))


def test_of_several_slices_each_is_wider() -> None:
    sums = units(900, 100)
    alone, one_of_eight = found(sums), event_interval(compare(sums), sums, ALPHA / 8)
    assert one_of_eight.low < alone.low < alone.high < one_of_eight.high


def test_nobody_came() -> None:
    assert not found(units(0, 0)).is_known
