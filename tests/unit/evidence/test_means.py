from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evidence.comparison import Comparison, compare
from serve_app.evidence.means import Groups
from serve_app.evidence.units import UnitSums

# stratum, treated, outcome, how many are alike
rows = st.lists(
    st.tuples(
        st.integers(0, 3), st.booleans(), st.sampled_from([0.0, 1.0, 4.5]), st.integers(0, 3)
    ),
    max_size=30,
)


def by_group(told: list[tuple[int, bool, float, int]]) -> Comparison:
    stratum, treated, y, count = np.array(told, np.float64).reshape(-1, 4).T
    return Groups(stratum.astype(np.int64), treated.astype(np.bool_), count).compare(y)


def by_unit(told: list[tuple[int, bool, float, int]]) -> Comparison:
    units = [row[:3] for row in told for _ in range(row[3])]
    stratum, treated, y = np.array(units, np.float64).reshape(-1, 3).T
    n = len(units)
    return compare(
        UnitSums(
            np.arange(n), stratum.astype(np.int64), treated.astype(np.bool_), np.ones(n), y.copy()
        )
    )


@given(rows)
def test_it_finds_what_is_found_unit_by_unit(told: list[tuple[int, bool, float, int]]) -> None:
    found, expected = by_group(told), by_unit(told)
    for field in fields(Comparison):
        value = getattr(expected, field.name)
        assert getattr(found, field.name) == pytest.approx(value, rel=1e-9, nan_ok=True), field.name


@pytest.mark.parametrize("value", [0.1, 1.0, 10 / 3, 4.1])
def test_where_nobody_differs_there_is_no_spread(value: float) -> None:
    """What rounding leaves is none: it would make us certain of anything."""
    found = by_group([(s, arm, value, 7 + s) for s in range(9) for arm in (False, True)])
    assert found.variance == found.cautious == 0


def test_strata_without_spread_of_their_own_leave_none() -> None:
    """But together both arms spread in neither, for each stratum has its own mean."""
    found = by_group([(s, arm, 3 + s / 7, 11) for s in range(9) for arm in (False, True)])
    assert found.variance == found.cautious == 0


def test_a_group_of_nobody_is_no_stratum() -> None:
    found = by_group([(1, False, 0, 0), (1, True, 1, 0), (2, False, 0, 2), (2, True, 1, 2)])
    assert (found.strata, found.left_out, found.difference) == (1, 0, 1)


def test_nobody_at_all_is_not_known() -> None:
    found = by_group([])
    assert math.isnan(found.control)
    assert found.variance == math.inf


def test_less_than_nobody_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"count is -1\.0"):
        by_group([(1, False, 0, -1)])
