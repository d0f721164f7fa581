"""Validation of unit sums, shares of units and strata."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evidence.units import UnitSums, strata, unit_share


def sums(*rows: tuple[int, int, bool, float, float]) -> UnitSums:
    unit, stratum, treated, x, y = zip(*rows, strict=True)
    return UnitSums(
        np.array(unit), np.array(stratum), np.array(treated), np.array(x, float), np.array(y, float)
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((1, 1, True, -1.0, 0.0), "x is -1.0"),
        ((1, 1, True, np.inf, 0.0), "not finite"),
        ((1, 1, True, 1.0, np.nan), "not finite"),
        ((1, 1, True, 0.0, 1.0), "without exposures"),
        ((1, 1, 1, 1.0, 1.0), "expected bool"),
    ],
)
def test_sums_out_of_range_are_rejected(
    row: tuple[int, int, bool, float, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sums(row)


def test_columns_of_different_length_are_rejected() -> None:
    one, two = np.ones(1), np.ones(2)
    with pytest.raises(ValueError, match=r"y has the shape \(2,\): expected \(1,\)"):
        UnitSums(one.astype(int), one.astype(int), one.astype(bool), one, two)


def test_unit_share_counts_units_at_their_first_assignment() -> None:
    share = unit_share(
        sums(
            (7, 2, True, 5, 3),  # later in treatment
            (7, 1, False, 2, 0),
            (8, 2, True, 1, 0),
            (4, 2, False, 1, 1),  # later in control
            (4, 1, True, 1, 0),
            (9, 1, True, 0, 0),  # no exposure
            (5, 3, True, 1, 1),
            (5, 3, False, 1, 0),  # both arms in one stratum
        )
    )
    assert share.unit.tolist() == [4, 5, 7, 8, 9]
    assert share.stratum.tolist() == [1, 3, 1, 2, 1]
    assert share.treated.tolist() == [True, False, False, True, True]
    assert share.x.tolist() == [1] * 5
    assert share.y.tolist() == [1, 1, 1, 0, 0]


def test_negative_events_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"y is -1\.0"):
        unit_share(sums((1, 1, True, 1, -1)))


def test_hours_with_few_rows_are_merged_within_an_epoch() -> None:
    """With two rows of each arm; too few rows at the end of an epoch join its last stratum."""
    epoch = np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2])
    hour = np.array([1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5])
    treated = np.array([0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1], bool)
    assert strata(epoch, hour, treated, min_rows=2).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2]
    assert strata(epoch, hour, treated, min_rows=1).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.booleans()), min_size=1),
    st.integers(1, 5),
)
def test_strata_increase_with_time_and_do_not_span_epochs(
    rows: list[tuple[int, int, bool]], min_rows: int
) -> None:
    epoch, hour, treated = (np.array(column) for column in zip(*sorted(rows), strict=True))
    hour = hour + 10 * epoch  # the hours of an epoch are after those of the epoch before
    code = strata(epoch, hour, treated, min_rows)
    assert (np.diff(code) >= 0).all()
    assert (np.diff(code)[np.diff(epoch) > 0] == 1).all()
    for number in np.unique(epoch):
        found = np.unique(code[epoch == number])
        arms = [min(treated[code == c].sum(), (~treated[code == c]).sum()) for c in found.tolist()]
        assert len(found) == 1 or min(arms) >= min_rows
