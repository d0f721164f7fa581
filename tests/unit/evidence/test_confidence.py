"""Intervals, against statsmodels, scipy and published formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from serve_app.evidence.comparison import Comparison
from serve_app.evidence.confidence import (
    Interval,
    bonferroni,
    confidence_sequence,
    critical_value,
    fixed_horizon,
    interval,
    log_evidence,
    no_event_difference,
    proportion_sequence,
    rate,
    share_difference,
)

EXACT = 1e-9
counts = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
alphas = st.sampled_from([0.001, 0.01, 0.05, 0.2])


class TestConfidenceSequence:
    @pytest.mark.parametrize("units", [10, 500, 5000, 2_000_000])
    @pytest.mark.parametrize("alpha", [0.05, 0.01])
    def test_half_width_is_the_published_one(self, units: int, alpha: float) -> None:
        """As GrowthBook writes it: s sqrt(2 (N rho^2 + 1) / (N^2 rho^2) ln(sqrt(N rho^2 + 1) / a)),
        with s^2 = N variance."""
        log = -2 * np.log(alpha)
        rho = np.sqrt((log + np.log(log + 1)) / 5000)
        variance = 0.3 / units
        s = np.sqrt(units * variance)
        inner = np.log(np.sqrt(units * rho**2 + 1) / alpha)
        half = s * np.sqrt(2 * (units * rho**2 + 1) / (units**2 * rho**2) * inner)
        found = confidence_sequence(0.2, variance, units, alpha)
        assert (found.low, found.high) == pytest.approx((0.2 - half, 0.2 + half), rel=EXACT)
        assert found.always_valid

    def test_critical_value_by_hand(self) -> None:
        """alpha 0.05, N = N* = 5000: N rho^2 = 5.9915 + ln 6.9915 = 7.9362; the half-width is
        sqrt(2 * 8.9362 / 7.9362 * (ln sqrt(8.9362) + 2.9957)) = 3.0352 standard errors."""
        assert critical_value(5000) == pytest.approx(3.0352, abs=5e-5)

    def test_critical_value_is_smallest_near_tuned_for(self) -> None:
        units = range(100, 10_000, 10)
        best = min(units, key=lambda n: critical_value(n, tuned_for=800))
        assert 0.9 * 800 < best < 1.1 * 800

    @pytest.mark.parametrize("variance", [0.0, math.inf, math.nan])
    def test_without_a_variance_nothing_is_known(self, variance: float) -> None:
        assert not confidence_sequence(0.1, variance, 100).is_known
        assert not fixed_horizon(0.1, variance).is_known

    def test_without_an_estimate_or_units_nothing_is_known(self) -> None:
        assert confidence_sequence(math.nan, 1.0, 100) == Interval(-math.inf, math.inf)
        assert not confidence_sequence(0.1, 1.0, 0).is_known

    @pytest.mark.parametrize("alpha", [0, 1, 2])
    def test_alpha_out_of_range_is_rejected(self, alpha: float) -> None:
        with pytest.raises(ValueError, match="expected above 0 and below 1"):
            critical_value(10, alpha)

    def test_units_out_of_range_are_rejected(self) -> None:
        with pytest.raises(ValueError, match="expected both above 0"):
            critical_value(0)

    def test_comparison_uses_the_conservative_variance_and_balanced_units(self) -> None:
        """900 and 100 units have the standard error of 360 units that are split evenly."""
        found = Comparison(0.2, 0.1, 1e-6, 4e-6, 1000, 900, 100, 1, 0, 0.0)
        half = 2e-3 * critical_value(360)
        assert interval(found).high == pytest.approx(-0.1 + half, rel=EXACT)


def test_fixed_horizon_is_the_normal_interval() -> None:
    found = fixed_horizon(1.0, 4.0, 0.1)
    assert (found.low, found.high) == pytest.approx(stats.norm.interval(0.9, 1, 2), rel=EXACT)
    assert not found.always_valid


class TestProportionSequence:
    @given(counts, st.floats(0.01, 0.99))
    def test_evidence_is_the_beta_binomial_over_the_binomial(
        self, count: tuple[int, int], share: float
    ) -> None:
        k, n = count
        expected = stats.betabinom.logpmf(k, n, 1, 1) - stats.binom.logpmf(k, n, share)
        assume(math.isfinite(expected))
        assert log_evidence(k, n, share) == pytest.approx(expected, rel=1e-8, abs=1e-8)

    @given(counts, alphas)
    def test_ends_have_evidence_of_1_over_alpha(self, count: tuple[int, int], alpha: float) -> None:
        k, n = count
        found = proportion_sequence(k, n, alpha)
        assert 0 <= found.low <= k / n <= found.high <= 1
        if 0 < k < n:
            for end in (found.low, found.high):
                assert log_evidence(k, n, end) == pytest.approx(-math.log(alpha), abs=1e-5)

    @given(counts, alphas)
    def test_interval_is_about_as_wide_as_the_wilson_interval_or_wider(
        self, count: tuple[int, int], alpha: float
    ) -> None:
        found = proportion_sequence(*count, alpha)
        low, high = proportion_confint(*count, alpha, method="wilson")
        assert found.high - found.low > 0.95 * (high - low)

    @given(counts)
    def test_swapped_successes_and_failures_mirror_the_interval(
        self, count: tuple[int, int]
    ) -> None:
        k, n = count
        one, other = proportion_sequence(k, n), proportion_sequence(n - k, n)
        assert (other.low, other.high) == pytest.approx((1 - one.high, 1 - one.low), abs=1e-12)

    def test_no_success_by_hand(self) -> None:
        """No success in n trials: (1 - p)^n = alpha / (n + 1), so p = 1 - (0.05 / 101)^(1/100)."""
        assert proportion_sequence(0, 100).high == pytest.approx(
            1 - (0.05 / 101) ** 0.01, rel=EXACT
        )

    def test_without_trials_nothing_is_known(self) -> None:
        found = rate(0, 0)
        assert found.estimate is None
        assert found.interval == Interval(0, 1)

    @pytest.mark.parametrize("count", [(-1, 3), (4, 3), (1, math.inf)])
    def test_counts_out_of_range_are_rejected(self, count: tuple[float, float]) -> None:
        with pytest.raises(ValueError, match="expected 0 <= successes <= trials"):
            proportion_sequence(*count)


def test_two_arms_without_events_have_a_narrow_interval() -> None:
    """With 5,000 units each, a difference of 0.25 percentage points is excluded."""
    found = share_difference((0, 5000), (0, 5000))
    assert found.high == -found.low == pytest.approx(1 - (0.025 / 5001) ** (1 / 5000), rel=1e-6)
    assert found.high < 0.0025


class TestNoEventDifference:
    def test_one_epoch_gives_the_share_difference(self) -> None:
        found = no_event_difference(np.array([4000.0]), np.array([1000.0]))
        assert found == share_difference((0, 4000), (0, 1000))

    def test_epochs_with_the_same_weight_are_pooled(self) -> None:
        found = no_event_difference(np.array([3000.0, 1000.0]), np.array([750.0, 250.0]))
        pooled = share_difference((0, 4000), (0, 1000))
        assert (found.low, found.high) == pytest.approx((pooled.low, pooled.high))

    def test_epochs_with_different_weights_widen_the_interval(self) -> None:
        """The first epoch has 1/2 of all units, 1/6 of treatment and 9/14 of control."""
        found = no_event_difference(np.array([900.0, 500.0]), np.array([100.0, 500.0]))
        pooled = share_difference((0, 1400), (0, 600))
        assert found.high == pytest.approx(3 * pooled.high)
        assert found.low == pytest.approx(1.4 * pooled.low)

    def test_ends_are_at_most_1(self) -> None:
        assert no_event_difference(np.array([1.0, 99.0]), np.array([1.0, 1.0])).high == 1

    def test_without_an_epoch_nothing_is_known(self) -> None:
        assert not no_event_difference(np.array([]), np.array([])).is_known


def test_interval_contains_its_ends_and_subtracts() -> None:
    assert 1.0 in Interval(0.0, 1.0)
    assert 1.1 not in Interval(0.0, 1.0)
    assert Interval(1, 2) - Interval(0, 5, always_valid=False) == Interval(-4, 2, False)


def test_bonferroni_divides_alpha() -> None:
    assert bonferroni(0.05, 10) == 0.005
    with pytest.raises(ValueError, match="slices is 0"):
        bonferroni(0.05, 0)
