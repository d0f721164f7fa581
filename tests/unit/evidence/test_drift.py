"""Drift, against scipy and simulated samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import binom

from serve_app.evidence.drift import DRIFT_ALPHA, divergence, drift
from serve_app.evidence.units import Floats

count_pairs = st.integers(1, 8).flatmap(
    lambda k: st.tuples(
        *[
            st.lists(st.integers(0, 50), min_size=k, max_size=k)
            .filter(any)
            .map(lambda counts: np.array(counts, np.float64))
        ]
        * 2
    )
)


@given(count_pairs)
def test_divergence_is_the_square_of_scipys_distance(counts: tuple[Floats, Floats]) -> None:
    one, other = counts
    expected = jensenshannon(one, other, base=2) ** 2
    assert divergence(one, other) == pytest.approx(expected, abs=1e-9)
    assert divergence(one, other) == pytest.approx(divergence(other, one), abs=1e-12)


def test_divergence_is_0_if_equal_and_1_if_disjoint() -> None:
    assert divergence(np.array([3.0, 1.0]), np.array([300.0, 100.0])) == pytest.approx(0, abs=1e-12)
    assert divergence(np.array([3.0, 0.0]), np.array([0.0, 9.0])) == pytest.approx(1)


def test_divergence_by_hand() -> None:
    """(1, 0) and (1/2, 1/2): H(3/4, 1/4) - 1/2 = 0.8112781 - 0.5."""
    assert divergence(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(
        0.3112781, abs=1e-7
    )


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.6, 0.35, 0.05), (0.9, 0.05, 0.03, 0.01, 0.01)])
@pytest.mark.parametrize(("before", "now"), [(200, 200), (20_000, 300)])
def test_samples_of_one_distribution_rarely_drift(
    shares: tuple[float, ...], before: int, now: int
) -> None:
    """1,500 pairs of samples, seed 8: at most the 99.9 % quantile of alarms at three times alpha.
    The critical value is not trivially large: a tenth of it is exceeded often."""
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


def test_a_shift_is_drift_in_a_large_enough_sample() -> None:
    before, now = np.array([50.0, 45.0, 5.0]), np.array([50.0, 35.0, 15.0])
    few, many = drift(before, now), drift(20 * before, 20 * now)
    assert few is not None
    assert many is not None
    assert not few.is_drift
    assert many.is_drift
    assert few.divergence == pytest.approx(many.divergence)


def test_noise_scales_with_images_per_unit() -> None:
    before, now = np.array([500.0, 450.0, 50.0]), np.array([500.0, 400.0, 100.0])
    independent, clustered = drift(before, now), drift(before, now, images_per_unit=20)
    assert independent is not None
    assert clustered is not None
    assert independent.is_drift
    assert not clustered.is_drift
    assert clustered.noise == pytest.approx(20 * independent.noise)


def test_an_empty_sample_has_no_drift() -> None:
    assert drift(np.zeros(3), np.array([1.0, 2.0, 3.0])) is None


def test_a_new_class_is_drift_unless_it_is_rare() -> None:
    """One koala in 300 images is not drift, twelve are."""
    before = np.array([10_000.0, 10_000.0, 0.0])
    one, twelve = (drift(before, np.array([150.0, 150.0, k])) for k in (1.0, 12.0))
    assert one is not None
    assert twelve is not None
    assert not one.is_drift
    assert twelve.is_drift


def test_a_single_class_does_not_drift() -> None:
    found = drift(np.array([5.0, 0.0]), np.array([9.0, 0.0]))
    assert found is not None
    assert not found.is_drift


@pytest.mark.parametrize("counts", [[-1.0, 2.0], [np.nan, 1.0], [0.0, 0.0], [1.0]])
def test_invalid_distributions_are_rejected(counts: list[float]) -> None:
    with pytest.raises(ValueError, match=r"no distribution|shape"):
        divergence(np.array([1.0, 1.0]), np.array(counts))
