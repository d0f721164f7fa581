"""Intervals, against statsmodels, scipy and published formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from serve_app.evidence.comparison import Comparison, UnitGroups
from serve_app.evidence.confidence import (
    TUNED_FOR,
    Interval,
    bonferroni,
    confidence_sequence,
    critical_value,
    fixed_horizon,
    interval,
    interval_variance,
    log_evidence,
    proportion_sequence,
    rate,
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
        rho = np.sqrt((log + np.log(log + 1)) / 500)
        variance = 0.3 / units
        s = np.sqrt(units * variance)
        inner = np.log(np.sqrt(units * rho**2 + 1) / alpha)
        half = s * np.sqrt(2 * (units * rho**2 + 1) / (units**2 * rho**2) * inner)
        found = confidence_sequence(0.2, variance, units, alpha)
        assert (found.low, found.high) == pytest.approx((0.2 - half, 0.2 + half), rel=EXACT)
        assert found.always_valid

    def test_critical_value_by_hand(self) -> None:
        """alpha 0.05, N = N* = 500: N rho^2 = 5.9915 + ln 6.9915 = 7.9362; the half-width is
        sqrt(2 * 8.9362 / 7.9362 * (ln sqrt(8.9362) + 2.9957)) = 3.0352 standard errors."""
        assert critical_value(500) == pytest.approx(3.0352, abs=5e-5)

    def test_critical_value_is_smallest_near_tuned_for(self) -> None:
        best = min(range(100, 10_000, 10), key=critical_value)
        assert 0.9 * TUNED_FOR < best < 1.1 * TUNED_FOR

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
        with pytest.raises(ValueError, match="units is 0: expected above 0"):
            critical_value(0)


class TestInterval:
    def test_a_mean_has_the_conservative_variance_and_balanced_units(self) -> None:
        """900 and 100 units have the standard error of 360 units that are split evenly."""
        found = Comparison(0.2, 0.1, 1e-6, 4e-6, 900, 100, 1, 0, 0)
        half = 2e-3 * critical_value(360)
        assert interval(found).high == pytest.approx(-0.1 + half, rel=EXACT)

    def test_a_share_has_the_variance_of_agresti_and_coull(self) -> None:
        """statsmodels' interval has the half-width c sqrt(p~ (1 - p~) / (n + c^2)), with n + c^2
        where `interval` has n."""
        found = shares((1, 400), (9, 250))
        added = critical_value(found.balanced_units) ** 2
        variance = 0.0
        for k, n in ((1, 400), (9, 250)):
            alpha = 2 * stats.norm.sf(math.sqrt(added))
            _, high = proportion_confint(k, n, alpha, method="agresti_coull")
            half = high - (k + added / 2) / (n + added)
            variance += half**2 / added * (n + added) / n
        assert interval_variance(found) == pytest.approx(variance, rel=1e-7)
        half = math.sqrt(added * variance)
        middle = 9 / 250 - 1 / 400
        bounds = interval(found)
        assert (bounds.low, bounds.high) == pytest.approx((middle - half, middle + half))

    @given(st.lists(st.integers(1, 5), min_size=2, max_size=30), alphas)
    def test_pseudo_units_have_the_variance_of_real_ones(
        self, ratings: list[int], alpha: float
    ) -> None:
        """Ratings from 1 to 5; units are appended until their number is c^2, half at each end."""
        count = len(ratings)
        groups = UnitGroups(
            np.zeros(2 * count, np.int64), np.arange(2 * count) % 2 == 0, np.ones(2 * count)
        )
        found = groups.compare(np.repeat(ratings, 2).astype(float), (1, 5))
        added = critical_value(2 * count, alpha) ** 2
        weights = np.concatenate([np.ones(count), [added / 2, added / 2]])
        values = np.array([*ratings, 1, 5])
        mean = np.average(values, weights=weights)
        variance = 2 * np.average((values - mean) ** 2, weights=weights) / count
        assert interval_variance(found, alpha) == pytest.approx(max(variance, found.variance))

    def test_strata_with_unlike_weights_have_fewer_effective_units(self) -> None:
        """900 + 100 and 500 + 500 units: treatment has 1 / (0.5^2 / 100 + 0.5^2 / 500) = 333."""
        counts = np.array([900.0, 100, 500, 500])
        groups = UnitGroups(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1], bool), counts)
        found = groups.compare(np.zeros(4), (0, 1))
        added = critical_value(4 * 1400 * 600 // 2000) ** 2
        effective = (1 / (0.25 / 900 + 0.25 / 500), 1000 / 3)
        expected = 0.0
        for n in effective:
            share = added / 2 / (n + added)
            expected += share * (1 - share) / n
        assert interval_variance(found) == pytest.approx(expected)

    def test_the_sample_variance_counts_where_it_is_larger(self) -> None:
        """All failures are in the stratum with few units of treatment."""
        counts = np.array([5000.0, 4800, 10, 10])
        groups = UnitGroups(
            np.array([0, 0, 1, 1, 1]), np.array([0, 1, 0, 1, 1], bool), np.append(counts, 10)
        )
        found = groups.compare(np.array([0.0, 0, 0, 0, 1]), (0, 1))
        assert interval_variance(found) >= found.variance

    @given(counts, counts, alphas)
    def test_a_difference_of_shares_stays_in_its_range(
        self, control: tuple[int, int], treatment: tuple[int, int], alpha: float
    ) -> None:
        found = shares(control, treatment)
        bounds = interval(found, alpha)
        assert -1 <= bounds.low <= found.difference <= bounds.high <= 1

    @pytest.mark.parametrize(
        ("control", "treatment"),
        [((0, 20), (20, 20)), ((0, 300), (6, 6)), ((0, 152), (8, 8))],
    )
    def test_a_treatment_that_always_fails_is_found_with_few_units(
        self, control: tuple[int, int], treatment: tuple[int, int]
    ) -> None:
        assert interval(shares(control, treatment)).low > 0

    def test_few_units_without_a_failure_prove_little(self) -> None:
        """At 1.2 % failures, none of 158 units fails with a probability of 15 %."""
        assert 0.012 in interval(shares((3, 3000), (0, 158)))

    def test_a_failure_widens_the_interval(self) -> None:
        none, one = interval(shares((0, 1000), (0, 1000))), interval(shares((0, 1000), (1, 1000)))
        assert one.high > none.high
        assert one.high - one.low > none.high - none.low

    def test_growth_is_the_variance_of_more_units_of_the_same_kind(self) -> None:
        one, ten = shares((1, 400), (9, 400)), shares((10, 4000), (90, 4000))
        assert interval_variance(one, growth=10) == pytest.approx(interval_variance(ten))


def shares(control: tuple[int, int], treatment: tuple[int, int]) -> Comparison:
    """Units with an event, and all units, of both arms."""
    counts = [control[0], control[1] - control[0], treatment[0], treatment[1] - treatment[0]]
    groups = UnitGroups(
        np.zeros(4, np.int64), np.array([0, 0, 1, 1], bool), np.array(counts, np.float64)
    )
    return groups.compare(np.array([1, 0, 1, 0], bool), (0, 1))


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


def test_interval_contains_its_ends_and_subtracts() -> None:
    assert 1.0 in Interval(0.0, 1.0)
    assert 1.1 not in Interval(0.0, 1.0)
    assert Interval(1, 2) - Interval(0, 5, always_valid=False) == Interval(-4, 2, False)


def test_bonferroni_divides_alpha() -> None:
    assert bonferroni(0.05, 10) == 0.005
    with pytest.raises(ValueError, match="slices is 0"):
        bonferroni(0.05, 0)
