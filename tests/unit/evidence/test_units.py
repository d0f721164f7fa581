"""What is rejected, and how rows become units and hours become strata."""

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
def test_impossible_sums_are_rejected(
    row: tuple[int, int, bool, float, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sums(row)


def test_columns_of_different_length_are_rejected() -> None:
    one, two = np.ones(1), np.ones(2)
    with pytest.raises(ValueError, match=r"y has the shape \(2,\): expected \(1,\)"):
        UnitSums(one.astype(int), one.astype(int), one.astype(bool), one, two)


def test_a_unit_has_an_event_once_and_where_it_was_first() -> None:
    share = unit_share(
        sums(
            (7, 2, True, 5, 3),  # later in treatment
            (7, 1, False, 2, 0),
            (8, 2, True, 1, 0),
            (4, 2, False, 1, 1),  # later in control
            (4, 1, True, 1, 0),
            (9, 1, True, 0, 0),  # assigned, never answered
            (5, 3, True, 1, 1),
            (5, 3, False, 1, 0),  # in both arms at once
        )
    )
    assert share.unit.tolist() == [4, 5, 7, 8, 9]
    assert share.stratum.tolist() == [1, 3, 1, 2, 1]
    assert share.treated.tolist() == [True, False, False, True, True]
    assert share.x.tolist() == [1] * 5
    assert share.y.tolist() == [1, 1, 1, 0, 0]


def test_a_negative_number_of_events_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"y is -1\.0"):
        unit_share(sums((1, 1, True, 1, -1)))


def test_thin_hours_are_merged_within_their_epoch() -> None:
    """Two rows of each arm are needed; the last hours of an epoch join those before."""
    epoch = np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2])
    hour = np.array([1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5])
    treated = np.array([0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1], bool)
    assert strata(epoch, hour, treated, least=2).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2]
    assert strata(epoch, hour, treated, least=1).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.booleans()), min_size=1),
    st.integers(1, 5),
)
def test_strata_follow_time_and_keep_epochs_apart(
    rows: list[tuple[int, int, bool]], least: int
) -> None:
    epoch, hour, treated = (np.array(column) for column in zip(*sorted(rows), strict=True))
    hour = hour + 10 * epoch  # an epoch's hours come after those of the epoch before
    code = strata(epoch, hour, treated, least)
    assert (np.diff(code) >= 0).all()
    assert (np.diff(code)[np.diff(epoch) > 0] == 1).all()
    for number in np.unique(epoch):
        found = np.unique(code[epoch == number])
        arms = [min(treated[code == c].sum(), (~treated[code == c]).sum()) for c in found.tolist()]
        assert len(found) == 1 or min(arms) >= least
