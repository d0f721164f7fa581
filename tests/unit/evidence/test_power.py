"""Power: one design by hand, and invariants. `test_simulations` compares it with simulations."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from serve_app.evidence.power import detectable_effect, power, units_needed

effects = st.floats(0.005, 0.2)
weights = st.floats(0.05, 0.95)
variances = st.floats(0.01, 1)


def test_power_by_hand() -> None:
    """A share of 5 %, an effect of 1 point, 40,000 units in two equal arms: the standard error is
    sqrt(4 * 0.0475 / 40,000) = 0.0021794, the effect 4.5883 and the critical value 3.2122 standard
    errors; Phi(4.5883 - 3.2122) = Phi(1.3762) = 91.56 %."""
    assert power(0.01, 40_000, 0.05 * 0.95) == pytest.approx(0.9156, abs=1e-4)


@given(effects, variances, weights, st.sampled_from([0.5, 0.8, 0.95]))
def test_units_needed_is_the_smallest_number_with_the_target_power(
    effect: float, variance: float, weight: float, target: float
) -> None:
    units = units_needed(effect, variance, weight, target)
    assert units is not None
    assert power(effect, units, variance, weight) >= target
    assert power(effect, units - 1, variance, weight) < target


@given(st.integers(30, 10**7), variances, weights, st.sampled_from([0.5, 0.8, 0.95]))
def test_detectable_effect_has_the_target_power(
    units: int, variance: float, weight: float, target: float
) -> None:
    effect = detectable_effect(units, variance, weight, target)
    assert power(effect, units, variance, weight) == pytest.approx(target, abs=1e-9)
    assert power(-effect, units, variance, weight) == pytest.approx(target, abs=1e-9)


@given(effects, variances, weights, st.integers(100, 10**6))
def test_power_grows_with_units_effect_and_balance(
    effect: float, variance: float, weight: float, units: int
) -> None:
    found = power(effect, units, variance, weight)
    assert power(effect, 2 * units, variance, weight) >= found
    assert power(1.5 * effect, units, variance, weight) >= found
    assert power(effect, units, variance, 0.5) >= found - 1e-12


def test_repeated_looks_need_about_twice_the_units_of_one_look() -> None:
    """For 80 % power: (3.1 + 0.84)^2 against (1.96 + 0.84)^2."""
    single = 4 * 0.0475 * (norm.isf(0.025) + norm.isf(0.2)) ** 2 / 0.01**2
    repeated = units_needed(0.01, 0.0475)
    assert repeated is not None
    assert 1.9 < repeated / single < 2.2


def test_designs_without_power() -> None:
    assert units_needed(0, 0.1) is None
    assert power(0.1, 1, 0.1, weight=0.01) == 0
    assert detectable_effect(1, 0.1, weight=0.01) == math.inf


@pytest.mark.parametrize(
    ("variance", "weight", "message"),
    [(0, 0.5, "unit_variance is 0"), (math.inf, 0.5, "unit_variance"), (1, 1, "weight is 1")],
)
def test_designs_out_of_range_are_rejected(variance: float, weight: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        power(0.1, 100, variance, weight)
    with pytest.raises(ValueError, match=message):
        detectable_effect(100, variance, weight)
