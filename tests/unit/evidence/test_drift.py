"""Against scipy, and against chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import binom

from serve_app.evidence.drift import DRIFT_ALPHA, divergence, drift
from serve_app.evidence.units import Floats

tables = st.integers(1, 8).flatmap(
    lambda k: st.tuples(
        *[
            st.lists(st.integers(0, 50), min_size=k, max_size=k)
            .filter(any)
            .map(lambda counts: np.array(counts, np.float64))
        ]
        * 2
    )
)


@given(tables)
def test_it_is_the_square_of_scipys_distance(
    table: tuple[Floats, Floats],
) -> None:
    one, other = table
    expected = jensenshannon(one, other, base=2) ** 2
    assert divergence(one, other) == pytest.approx(expected, abs=1e-9)
    assert divergence(one, other) == pytest.approx(divergence(other, one), abs=1e-12)


def test_its_range() -> None:
    assert divergence(np.array([3.0, 1.0]), np.array([300.0, 100.0])) == pytest.approx(0, abs=1e-12)
    assert divergence(np.array([3.0, 0.0]), np.array([0.0, 9.0])) == pytest.approx(1)


def test_by_hand() -> None:
    """(1, 0) and (1/2, 1/2): H(3/4, 1/4) - 1/2 = 0.8112781 - 0.5."""
    assert divergence(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(
        0.3112781, abs=1e-7
    )


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.6, 0.35, 0.05), (0.9, 0.05, 0.03, 0.01, 0.01)])
@pytest.mark.parametrize(("before", "now"), [(200, 200), (20_000, 300)])
def test_chance_is_not_called_drift(shares: tuple[float, ...], before: int, now: int) -> None:
    """1,500 pairs of samples, seed 8: no more alarms than three times alpha gives in 99.9 % of
    cases, and the noise is not idle: one of a tenth as much would be exceeded often."""
    rng = np.random.default_rng(8)
    pairs = 1500
    found = [
        drift(one.astype(float), other.astype(float))
        for one, other in zip(
            rng.multinomial(before, shares, pairs), rng.multinomial(now, shares, pairs), strict=True
        )
    ]
    alarms = sum(d is not None and d.is_drift for d in found)
    assert alarms <= binom.ppf(0.999, pairs, 3 * DRIFT_ALPHA)
    assert np.mean([d is not None and d.divergence > d.noise / 10 for d in found]) > 0.15


def test_a_shift_is_drift_once_the_sample_tells() -> None:
    before, now = np.array([50.0, 45.0, 5.0]), np.array([50.0, 35.0, 15.0])
    few, many = drift(before, now), drift(20 * before, 20 * now)
    assert few is not None
    assert many is not None
    assert not few.is_drift
    assert many.is_drift
    assert few.divergence == pytest.approx(many.divergence)


def test_users_who_send_much_make_more_noise() -> None:
    before, now = np.array([500.0, 450.0, 50.0]), np.array([500.0, 400.0, 100.0])
    alone, crowd = drift(before, now), drift(before, now, each=20)
    assert alone is not None
    assert crowd is not None
    assert alone.is_drift
    assert not crowd.is_drift
    assert crowd.noise == pytest.approx(20 * alone.noise)


def test_nothing_came() -> None:
    assert drift(np.zeros(3), np.array([1.0, 2.0, 3.0])) is None


def test_a_class_that_was_never_seen_is_drift_when_it_is_not_rare() -> None:
    """Of 300 images one koala may be chance, twelve may not."""
    before = np.array([10_000.0, 10_000.0, 0.0])
    one, twelve = (drift(before, np.array([150.0, 150.0, k])) for k in (1.0, 12.0))
    assert one is not None
    assert twelve is not None
    assert not one.is_drift
    assert twelve.is_drift


def test_one_class_does_not_drift() -> None:
    found = drift(np.array([5.0, 0.0]), np.array([9.0, 0.0]))
    assert found is not None
    assert not found.is_drift


@pytest.mark.parametrize("counts", [[-1.0, 2.0], [np.nan, 1.0], [0.0, 0.0], [1.0]])
def test_what_is_no_distribution_is_rejected(counts: list[float]) -> None:
    with pytest.raises(ValueError, match=r"no distribution|shape"):
        divergence(np.array([1.0, 1.0]), np.array(counts))
