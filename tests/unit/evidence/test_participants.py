"""Which feedback belongs to which unit of an A/B test."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evidence.participants import (
    Cells,
    Predictions,
    Units,
    check_response,
    match_requests,
    match_units,
)

AU, NZ = 0, 1
REGIONS = np.array(["AU", "NZ"])


def units(*rows: tuple[int, int, bool], weight: float = 0.5) -> Units:
    """Units by unit, epoch and treated."""
    unit, epoch, treated = np.array(rows, np.int64).reshape(-1, 3).T
    size = len(unit)
    return Units(
        unit,
        epoch,
        np.zeros(size, np.int64),
        np.full(size, weight),
        np.full(size, "AU"),
        treated.astype(np.bool_),
        np.ones(size),
    )


def cells(*rows: tuple[int, int, bool, int]) -> Cells:
    """Cells by epoch, hour, treated and region."""
    epoch, hour, treated, region = np.array(rows, np.int64).reshape(-1, 4).T
    return Cells(epoch, hour, treated.astype(np.bool_), region)


def test_feedback_counts_on_answers_of_settled_units_while_they_settled_on_their_side() -> None:
    """Unit 2 in control from 100 on, unit 5 in treatment from 200 on; unit 9 is not settled."""
    rows = [
        (2, 100, False, True),
        (2, 149, False, True),
        (2, 150, False, False),  # settled
        (2, 120, True, False),  # on the other side
        (5, 249, True, True),
        (5, 250, True, False),
        (9, 120, False, False),
    ]
    unit, at_ms, treated, is_eligible = (np.array(column) for column in zip(*rows, strict=True))
    found = match_units(
        units((2, 1, False), (5, 2, True)),
        np.array([100, 200]),
        Predictions(unit, at_ms, treated),
        settle_ms=50,
    )
    assert found.is_eligible.tolist() == is_eligible.tolist()
    assert found.feedback_unit.tolist() == unit.tolist()


def test_units_with_different_weights_are_in_different_strata() -> None:
    """A later change of the weight left out some units of the same epoch and hour."""
    rows = [(unit, 1, unit % 2 == 1) for unit in range(80)]
    one, other = units(*rows[:40], weight=0.5), units(*rows[40:], weight=0.2)
    both = Units(
        *(np.concatenate([getattr(one, name), getattr(other, name)]) for name in Units.__slots__)
    )
    stratum = both.assigned().stratum
    assert len(set(stratum[:40])) == len(set(stratum[40:])) == 1
    assert stratum[0] != stratum[40]


def test_feedback_on_a_request_belongs_to_its_cell() -> None:
    """The cells differ in one value each; the last three rows of feedback are in none."""
    rows = [(1, 7, False, AU), (2, 7, False, AU), (1, 8, False, AU), (1, 7, True, AU),
            (1, 7, False, NZ)]  # fmt: skip
    others = [(3, 7, False, AU), (1, 9, False, AU), (1, 7, False, -1)]
    feedback = cells(*rows[::-1], *others)
    weight = np.array([0.1, 0.2, 0.1, 0.1, 0.1])
    found = match_requests(
        cells(*rows), weight, np.array([5, 4, 3, 2, 1]), REGIONS, feedback, np.full(8, True)
    )
    assert found.is_eligible.tolist() == [True] * 5 + [False] * 3
    first = [column[:5].tolist() for column in (found.units.epoch, found.units.hour)]
    assert first == [[row[0] for row in rows[::-1]], [row[1] for row in rows[::-1]]]
    assert found.units.region[:5].tolist() == ["NZ", "AU", "AU", "AU", "AU"]
    assert found.units.weight[:5].tolist() == weight[::-1].tolist()
    assert found.units.count.tolist() == [1] * 5 + [4, 3, 2, 1, 0]


def test_feedback_that_may_not_count_is_not_eligible() -> None:
    found = match_requests(
        cells((1, 7, False, AU)),
        np.array([0.5]),
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
        np.full(len(keys), 0.5),
        np.array(list(exposures.values()), np.int64),
        REGIONS,
        cells(*feedback),
        np.full(len(feedback), True),
    )
    for (hour, treated), count in exposures.items():
        is_inside = (found.units.hour == hour) & (found.units.treated == treated)
        assert found.units.count[is_inside].sum() == count
    assert found.is_eligible.sum() == len(feedback)


def test_response_is_checked_against_the_weight_of_each_unit() -> None:
    rows = [(unit, 1, unit % 2 == 1) for unit in range(400)]
    everyone, control_only = np.arange(400), np.arange(0, 400, 2)
    assert not check_response(units(*rows), everyone).is_invalid
    found = check_response(units(*rows), control_only)
    assert (found.control, found.treatment, found.is_invalid) == (200, 0, True)
    half = units(*rows[:200]), units(*rows[200:], weight=0.1)
    both = Units(*(np.concatenate([getattr(u, name) for u in half]) for name in Units.__slots__))
    assert check_response(both, everyone).expected == 100 + 20
