from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evidence.comparison import Comparison, compare
from serve_app.evidence.means import UnitGroups
from serve_app.evidence.units import UnitSums

# stratum, treated, outcome, number of units
group_rows = st.lists(
    st.tuples(
        st.integers(0, 3), st.booleans(), st.sampled_from([0.0, 1.0, 4.5]), st.integers(0, 3)
    ),
    max_size=30,
)


def compare_groups(rows: list[tuple[int, bool, float, int]]) -> Comparison:
    stratum, treated, y, count = np.array(rows, np.float64).reshape(-1, 4).T
    return UnitGroups(stratum.astype(np.int64), treated.astype(np.bool_), count).compare(y)


def compare_units(rows: list[tuple[int, bool, float, int]]) -> Comparison:
    units = [row[:3] for row in rows for _ in range(row[3])]
    stratum, treated, y = np.array(units, np.float64).reshape(-1, 3).T
    n = len(units)
    return compare(
        UnitSums(
            np.arange(n), stratum.astype(np.int64), treated.astype(np.bool_), np.ones(n), y.copy()
        )
    )


@given(group_rows)
def test_groups_are_compared_like_single_units(rows: list[tuple[int, bool, float, int]]) -> None:
    found, expected = compare_groups(rows), compare_units(rows)
    for field in fields(Comparison):
        value = getattr(expected, field.name)
        assert getattr(found, field.name) == pytest.approx(value, rel=1e-9, nan_ok=True), field.name


@pytest.mark.parametrize("value", [0.1, 1.0, 10 / 3, 4.1])
def test_equal_outcomes_have_no_variance(value: float) -> None:
    """A rounding error is not a variance: its interval would have a width near 0."""
    found = compare_groups([(s, arm, value, 7 + s) for s in range(9) for arm in (False, True)])
    assert found.variance == found.conservative_variance == 0


def test_differences_between_strata_are_no_variance() -> None:
    """The pooled variance is centred within strata as well."""
    found = compare_groups([(s, arm, 3 + s / 7, 11) for s in range(9) for arm in (False, True)])
    assert found.variance == found.conservative_variance == 0


def test_empty_groups_form_no_stratum() -> None:
    found = compare_groups([(1, False, 0, 0), (1, True, 1, 0), (2, False, 0, 2), (2, True, 1, 2)])
    assert (found.strata, found.strata_left_out, found.difference) == (1, 0, 1)


def test_without_units_the_means_are_not_known() -> None:
    found = compare_groups([])
    assert math.isnan(found.control)
    assert found.variance == math.inf


def test_negative_counts_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"count is -1\.0"):
        compare_groups([(1, False, 0, -1)])
