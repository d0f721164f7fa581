"""Columns of units, and strata."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evidence.units import check_columns, strata


def test_columns_of_different_length_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"y has the shape \(2,\): expected \(1,\)"):
        check_columns(x=np.ones(1), y=np.ones(2))


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
