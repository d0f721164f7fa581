"""Which units are settled, by comparison with a loop over units and by example."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evidence.settled import AssignedAt, Settlement, WeightPeriod, settle

WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Unit:
    epoch: int
    at_ms: int
    bucket: float


@dataclass(frozen=True, slots=True)
class Case:
    """Epochs with gaps of any length between them, and units; each at any time of any epoch, or
    after its end."""

    periods: list[WeightPeriod]
    units: list[Unit]
    settle_ms: int
    as_of_ms: int
    wait_ms: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    periods: list[WeightPeriod] = []
    start = 0
    for epoch in range(3, 3 + draw(st.integers(1, 5))):
        length = draw(st.integers(1, 30))
        periods.append(WeightPeriod(epoch, start, start + length, draw(st.sampled_from(WEIGHTS))))
        start += length + draw(st.integers(0, 10))
    if draw(st.booleans()):
        last = periods[-1]
        periods[-1] = WeightPeriod(last.epoch, last.from_ms, None, last.weight)
    units = []
    for _ in range(draw(st.integers(0, 8))):
        period = draw(st.sampled_from(periods))
        at_ms = draw(st.integers(period.from_ms, (period.to_ms or start + 30) + 5))
        units.append(Unit(period.epoch, at_ms, draw(st.integers(0, 19)) / 20))
    return Case(
        periods,
        units,
        draw(st.integers(1, 40)),
        draw(st.integers(0, 200)),
        draw(st.integers(0, 20)),
    )


def settle_units(case: Case) -> Settlement:
    weights = {period.epoch: period.weight for period in case.periods}
    bucket = np.array([unit.bucket for unit in case.units], np.float64)
    own = np.array([weights[unit.epoch] for unit in case.units], np.float64)
    return settle(
        AssignedAt(
            np.arange(len(case.units)),
            np.array([unit.epoch for unit in case.units], np.int64),
            np.array([unit.at_ms for unit in case.units], np.int64),
            bucket,
            bucket < own,
        ),
        case.periods,
        case.settle_ms,
        case.as_of_ms,
        case.wait_ms,
    )


def weights_while_settling(case: Case, unit: Unit) -> set[float]:
    """The weights at each millisecond, and that of the unit's own epoch."""
    found = {p.weight for p in case.periods if p.epoch == unit.epoch}
    for now in range(unit.at_ms, min(unit.at_ms + case.settle_ms, case.as_of_ms)):
        found |= {
            p.weight
            for p in case.periods
            if p.from_ms <= now and (p.to_ms is None or now < p.to_ms)
        }
    return found


@given(cases())
def test_units_settle_as_in_a_loop_over_milliseconds(case: Case) -> None:
    found = settle_units(case)
    for row, unit in enumerate(case.units):
        weights = weights_while_settling(case, unit)
        is_old = unit.at_ms + case.settle_ms + case.wait_ms <= case.as_of_ms
        sides = {unit.bucket < weight for weight in weights}
        assert found.changed_sides[row] == (len(sides) == 2)
        assert found.is_settled[row] == (is_old and len(sides) == 1)
        assert found.is_settling[row] == (not is_old and len(sides) == 1)
        if len(sides) == 1:
            assert 0 <= found.weight[row] <= 1


@given(cases())
def test_weight_is_the_share_of_treatment_among_buckets_that_stay(case: Case) -> None:
    buckets = (np.arange(2000) + 0.5) / 2000
    for unit in case.units:
        same = Case(
            case.periods,
            [Unit(unit.epoch, unit.at_ms, float(bucket)) for bucket in buckets],
            case.settle_ms,
            case.as_of_ms,
            case.wait_ms,
        )
        found = settle_units(same)
        stays = ~found.changed_sides
        own = next(p.weight for p in case.periods if p.epoch == unit.epoch)
        if stays.any():
            share = (buckets[stays] < own).mean()
            assert found.weight == pytest.approx(np.full(len(buckets), share))


def test_only_units_whose_side_changed_are_left_out() -> None:
    """10 %, then half, then 10 % again; the units settle in 10 ms, in which the weight changes."""
    periods = [
        WeightPeriod(1, 0, 100, 0.1),
        WeightPeriod(2, 100, 200, 0.5),
        WeightPeriod(3, 200, None, 0.1),
    ]
    units = [
        Unit(1, 89, 0.3),  # settled when the weight changed
        Unit(1, 95, 0.05),  # in treatment under both weights
        Unit(1, 95, 0.3),  # in control, then in treatment
        Unit(1, 95, 0.7),  # in control under both weights
        Unit(2, 195, 0.3),  # in treatment, then in control
        Unit(2, 205, 0.3),  # an ingress assigned it under a weight that was over
        Unit(2, 205, 0.7),
        Unit(3, 395, 0.7),  # too young
        Unit(3, 395, 0.3),
    ]
    found = settle_units(Case(periods, units, settle_ms=10, as_of_ms=400, wait_ms=0))
    assert found.changed_sides.tolist() == [False, False, True, False, True, True] + [False] * 3
    assert found.is_settling.tolist() == [False] * 7 + [True, True]
    mixed = 0.1 / (0.1 + 0.5)
    assert found.weight == pytest.approx([0.1, *[mixed] * 6, 0.1, 0.1])


def test_a_unit_waits_for_its_feedback() -> None:
    """Sides matter while it settles, not while it waits."""
    periods = [WeightPeriod(1, 0, 50, 0.1), WeightPeriod(2, 50, None, 0.5)]
    for as_of_ms, is_settled in ((59, False), (60, True)):
        found = settle_units(Case(periods, [Unit(1, 30, 0.3)], 10, as_of_ms, wait_ms=20))
        assert found.is_settled.tolist() == [is_settled]
        assert not found.changed_sides.any()


def test_where_all_units_change_sides_none_is_compared() -> None:
    periods = [WeightPeriod(1, 0, 5, 0), WeightPeriod(2, 5, None, 1)]
    found = settle_units(Case(periods, [Unit(1, 3, 0.3)], 10, 100, 0))
    assert found.changed_sides.tolist() == [True]
    assert found.weight.tolist() == [0]


def test_a_unit_of_an_unknown_epoch_is_rejected() -> None:
    seven = np.array([7])
    units = AssignedAt(seven, seven, seven, np.array([0.5]), np.array([True]))
    with pytest.raises(ValueError, match=r"no period for the epochs \[7\]"):
        settle(units, [WeightPeriod(1, 0, None, 0.5)], 10, 100)


def test_a_weight_out_of_range_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"epoch 1 has the weight 1\.5"):
        WeightPeriod(1, 0, None, 1.5)
