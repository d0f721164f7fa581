"""Which feedback belongs to which unit of an A/B test."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evidence.participants import (
    Cells,
    Units,
    check_response,
    match_requests,
    match_units,
)

AU, NZ = 0, 1
REGIONS = np.array(["AU", "NZ"])


def units(*rows: tuple[int, int, bool]) -> Units:
    """Units by unit, epoch and treated."""
    unit, epoch, treated = np.array(rows, np.int64).reshape(-1, 3).T
    size = len(unit)
    return Units(
        unit,
        epoch,
        np.zeros(size, np.int64),
        np.full(size, "AU"),
        treated.astype(np.bool_),
        np.ones(size),
    )


def cells(*rows: tuple[int, int, bool, int]) -> Cells:
    """Cells by epoch, hour, treated and region."""
    epoch, hour, treated, region = np.array(rows, np.int64).reshape(-1, 4).T
    return Cells(epoch, hour, treated.astype(np.bool_), region)


def test_feedback_counts_for_an_assigned_unit_under_the_weight_of_its_assignment() -> None:
    """Epochs 1 and 3 have one weight. Unit 9 was not assigned in the period."""
    found = match_units(
        units((2, 1, False), (5, 2, True)),
        feedback_unit=np.array([2, 2, 2, 5, 5, 9]),
        feedback_epoch=np.array([1, 2, 3, 1, 2, 1]),
        weights={1: 0.1, 2: 0.5, 3: 0.1},
    )
    assert found.is_eligible.tolist() == [True, False, True, False, True, False]


def test_feedback_on_a_request_belongs_to_its_cell() -> None:
    """The cells differ in one value each; the last three rows of feedback are in none."""
    rows = [(1, 7, False, AU), (2, 7, False, AU), (1, 8, False, AU), (1, 7, True, AU),
            (1, 7, False, NZ)]  # fmt: skip
    others = [(3, 7, False, AU), (1, 9, False, AU), (1, 7, False, -1)]
    feedback = cells(*rows[::-1], *others)
    found = match_requests(
        cells(*rows), np.array([5, 4, 3, 2, 1]), REGIONS, feedback, np.full(8, True)
    )
    assert found.is_eligible.tolist() == [True] * 5 + [False] * 3
    first = [column[:5].tolist() for column in (found.units.epoch, found.units.hour)]
    assert first == [[row[0] for row in rows[::-1]], [row[1] for row in rows[::-1]]]
    assert found.units.region[:5].tolist() == ["NZ", "AU", "AU", "AU", "AU"]
    assert found.units.count.tolist() == [1] * 5 + [4, 3, 2, 1, 0]


def test_feedback_on_another_version_is_not_eligible() -> None:
    found = match_requests(
        cells((1, 7, False, AU)),
        np.array([3]),
        REGIONS,
        cells((1, 7, False, AU), (1, 7, False, AU)),
        np.array([False, True]),
    )
    assert found.is_eligible.tolist() == [False, True]
    assert found.feedback_unit.tolist() == [-1, 0]


@given(st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.integers(1, 5)), max_size=8))
def test_requests_count_once_with_or_without_feedback(rows: list[tuple[int, bool, int]]) -> None:
    """In each cell, the units with feedback and those without add up to the exposures."""
    exposures = {(hour, treated): n for hour, treated, n in rows}
    keys = [(1, hour, treated, AU) for hour, treated in exposures]
    feedback = [key for key in keys for _ in range(exposures[key[1], key[2]] // 2)]
    found = match_requests(
        cells(*keys),
        np.array(list(exposures.values()), np.int64),
        REGIONS,
        cells(*feedback),
        np.full(len(feedback), True),
    )
    for (hour, treated), count in exposures.items():
        is_inside = (found.units.hour == hour) & (found.units.treated == treated)
        assert found.units.count[is_inside].sum() == count
    assert found.is_eligible.sum() == len(feedback)


def test_response_is_checked_against_the_weight_of_each_epoch() -> None:
    rows = [(unit, 1 + unit // 200, unit % 2 == 1) for unit in range(400)]
    everyone, control_only = np.arange(400), np.arange(0, 400, 2)
    weights = {1: 0.5, 2: 0.5}
    assert not check_response(units(*rows), everyone, weights).is_invalid
    found = check_response(units(*rows), control_only, weights)
    assert (found.control, found.treatment, found.is_invalid) == (200, 0, True)
    assert check_response(units(*rows), everyone, {1: 0.5, 2: 0.1}).expected == 100 + 20
