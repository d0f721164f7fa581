"""Laws of power, and one design by hand. Whether it is true is simulated elsewhere."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from serve_app.evidence.power import detectable, power, units_needed

effects = st.floats(0.005, 0.2)
weights = st.floats(0.05, 0.95)
variances = st.floats(0.01, 1)


def test_by_hand() -> None:
    """5 % less 1 point, 40,000 units, half of them in each arm: the standard error is
    sqrt(4 * 0.0475 / 40,000) = 0.0021794, the effect 4.5883 of it, the interval reaches 3.2122;
    1.3762 standard deviations of the normal lie below with 91.56 %."""
    assert power(0.01, 40_000, 0.05 * 0.95) == pytest.approx(0.9156, abs=1e-4)


@given(effects, variances, weights, st.sampled_from([0.5, 0.8, 0.95]))
def test_the_units_needed_suffice_and_one_less_does_not(
    effect: float, variance: float, weight: float, wanted: float
) -> None:
    units = units_needed(effect, variance, weight, wanted)
    assert units is not None
    assert power(effect, units, variance, weight) >= wanted
    assert power(effect, units - 1, variance, weight) < wanted


@given(st.integers(30, 10**7), variances, weights, st.sampled_from([0.5, 0.8, 0.95]))
def test_the_detectable_effect_has_the_power_wanted(
    units: int, variance: float, weight: float, wanted: float
) -> None:
    effect = detectable(units, variance, weight, wanted)
    assert power(effect, units, variance, weight) == pytest.approx(wanted, abs=1e-9)
    assert power(-effect, units, variance, weight) == pytest.approx(wanted, abs=1e-9)


@given(effects, variances, weights, st.integers(100, 10**6))
def test_more_units_and_larger_effects_help(
    effect: float, variance: float, weight: float, units: int
) -> None:
    found = power(effect, units, variance, weight)
    assert power(effect, 2 * units, variance, weight) >= found
    assert power(1.5 * effect, units, variance, weight) >= found
    assert power(effect, units, variance, 0.5) >= found - 1e-12


def test_it_costs_twice_the_units_of_a_single_look() -> None:
    """What free looks cost, for 80 % power: (3.1 + 0.84)^2 against (1.96 + 0.84)^2."""
    once = 4 * 0.0475 * (norm.isf(0.025) + norm.isf(0.2)) ** 2 / 0.01**2
    always = units_needed(0.01, 0.0475)
    assert always is not None
    assert 1.9 < always / once < 2.2


def test_nothing_can_be_shown() -> None:
    assert units_needed(0, 0.1) is None
    assert power(0.1, 1, 0.1, weight=0.01) == 0
    assert detectable(1, 0.1, weight=0.01) == math.inf


@pytest.mark.parametrize(
    ("variance", "weight", "message"),
    [(0, 0.5, "unit_variance is 0"), (math.inf, 0.5, "unit_variance"), (1, 1, "weight is 1")],
)
def test_impossible_designs_are_rejected(variance: float, weight: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        power(0.1, 100, variance, weight)
    with pytest.raises(ValueError, match=message):
        detectable(100, variance, weight)
