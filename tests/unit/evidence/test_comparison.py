"""Comparisons, against statsmodels, textbook formulas and invariants."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from serve_app.evidence.comparison import compare
from serve_app.evidence.confidence import fixed_horizon, interval
from serve_app.evidence.units import Flags, Floats, UnitSums, unit_share

EXACT = 1e-9


def draw(
    seed: int, units: int = 60, strata: int = 1, weight: float = 0.4, moving: bool = False
) -> UnitSums:
    """Rows of units with heavy-tailed exposures.

    Args:
        moving: Whether the arm is drawn by unit and stratum, and not by unit.
    """
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(units), strata)
    stratum = np.tile(np.arange(strata), units)
    treated = rng.random(units)[unit] < weight
    if moving:
        treated = rng.random(len(unit)) < weight
    treated[unit < 4] = unit[unit < 4] % 2 == 0  # no arm is empty
    x = 1 + np.floor(rng.lognormal(1, 1, len(unit)))
    y = rng.binomial(x.astype(int), rng.beta(2, 5, units)[unit]).astype(float)
    return UnitSums(unit, stratum, treated, x, y)


few_examples = settings(max_examples=40)
unit_sums = st.builds(
    draw,
    st.integers(0, 10_000),
    st.integers(8, 40),
    st.integers(1, 4),
    st.floats(0.3, 0.7),
    st.booleans(),
)


def regression(sums: UnitSums, **covariance: object) -> tuple[float, float]:
    """The coefficient of treatment and its variance: y / x on the arm, weighted by x."""
    design = sm.add_constant(sums.treated.astype(float))
    fit = sm.WLS(sums.y / sums.x, design, weights=sums.x).fit(**covariance)
    return float(fit.params[1]), float(fit.cov_params()[1, 1])


class TestReferences:
    def test_difference_of_unit_means_has_the_variance_of_welchs_test(self) -> None:
        sums = draw(1)
        ones = replace(sums, x=np.ones(len(sums.x)))
        control, treatment = ones.y[~ones.treated], ones.y[ones.treated]
        found = compare(ones)
        welch = stats.ttest_ind(treatment, control, equal_var=False)
        assert found.difference == pytest.approx(treatment.mean() - control.mean(), rel=EXACT)
        assert found.difference / math.sqrt(found.variance) == pytest.approx(
            welch.statistic, rel=EXACT
        )
        assert (found.units_control, found.units_treatment) == (len(control), len(treatment))

    def test_difference_of_unit_means_has_the_hc2_variance(self) -> None:
        """With one exposure a unit, n / (n - 1) is HC2's correction for leverage."""
        sums = draw(2)
        ones = replace(sums, x=np.ones(len(sums.x)))
        found = compare(ones)
        assert (found.difference, found.variance) == pytest.approx(
            regression(ones, cov_type="HC2"), rel=EXACT
        )

    def test_ratio_has_the_variance_of_the_delta_method(self) -> None:
        """Deng, Knoblich, Lu (KDD 2018), by the moments of each arm."""
        sums = draw(3)
        found = compare(sums)
        variance, ratios = 0.0, []
        for arm in (False, True):
            x, y = sums.x[sums.treated == arm], sums.y[sums.treated == arm]
            ratio = y.mean() / x.mean()
            (syy, sxy), (_, sxx) = np.cov(y, x)
            variance += (syy - 2 * ratio * sxy + ratio**2 * sxx) / x.mean() ** 2 / len(x)
            ratios.append(ratio)
        assert (found.control, found.treatment) == pytest.approx(ratios, rel=EXACT)
        assert found.variance == pytest.approx(variance, rel=EXACT)

    def test_ratio_has_the_variance_of_clustered_least_squares(self) -> None:
        """statsmodels lacks n / (n - 1) by arm; with arms of equal size it is one factor."""
        sums = draw(4, units=50, strata=3)
        sums = replace(sums, treated=sums.unit % 2 == 0, stratum=np.zeros_like(sums.stratum))
        difference, variance = regression(
            sums, cov_type="cluster", cov_kwds={"groups": sums.unit, "use_correction": False}
        )
        found = compare(sums)
        assert found.difference == pytest.approx(difference, rel=EXACT)
        assert found.variance == pytest.approx(variance * 25 / 24, rel=EXACT)

    def test_unit_shares_have_the_variance_of_a_proportions_z_test(self) -> None:
        """NIST handbook 7.3.3, with unpooled variances and n - 1 for n."""
        treated = np.repeat([False, True], [200, 300])
        y = np.concatenate([np.arange(200) < 30, np.arange(300) < 24]).astype(float)
        found = compare(UnitSums(np.arange(500), np.zeros(500, int), treated, np.ones(500), y))
        assert (found.control, found.treatment) == pytest.approx((0.15, 0.08))
        assert found.variance == pytest.approx(0.15 * 0.85 / 199 + 0.08 * 0.92 / 299, rel=EXACT)
        assert found.conservative_variance == pytest.approx(
            0.15 * 0.85 * 200 / 199 * (1 / 200 + 1 / 300), rel=EXACT
        )
        assert found.balanced_units == 480
        assert found.unit_variance == pytest.approx(0.15 * 0.85 * 200 / 199, rel=EXACT)

    def test_means_of_several_strata_are_poststratified(self) -> None:
        """Cochran (1977), section 5A.9, with weights by units of both arms."""
        sums = draw(5, units=80, strata=3)
        rng = np.random.default_rng(6)
        sums = replace(
            sums,
            x=np.ones(len(sums.x)),
            unit=np.arange(len(sums.x)),
            treated=rng.random(len(sums.x)) < 0.1 + 0.3 * sums.stratum,
        )
        difference = variance = 0.0
        for stratum in range(3):
            is_inside = sums.stratum == stratum
            weight = is_inside.mean()
            for arm, sign in ((True, 1), (False, -1)):
                y = sums.y[is_inside & (sums.treated == arm)]
                difference += weight * sign * y.mean()
                variance += weight**2 * y.var(ddof=1) / len(y)
        found = compare(sums)
        assert found.difference == pytest.approx(difference, rel=EXACT)
        assert found.variance == pytest.approx(variance, rel=EXACT)


class TestInvariants:
    @few_examples
    @given(unit_sums, st.integers(0, 100))
    def test_order_and_numbering_of_rows_do_not_matter(self, sums: UnitSums, seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(sums.x))
        renamed = UnitSums(
            1000 - 7 * sums.unit[order],
            5 * sums.stratum[order] - 3,
            sums.treated[order],
            sums.x[order],
            sums.y[order],
        )
        one, other = compare(sums), compare(renamed)
        assert other.units == one.units
        assert other.difference == pytest.approx(one.difference, rel=EXACT, abs=1e-12)
        assert other.conservative_variance == pytest.approx(one.conservative_variance, rel=1e-7)

    @few_examples
    @given(unit_sums)
    def test_rows_of_a_unit_are_summed(self, sums: UnitSums) -> None:
        part = np.floor(sums.x / 2)
        halves = UnitSums(
            np.tile(sums.unit, 2),
            np.tile(sums.stratum, 2),
            np.tile(sums.treated, 2),
            np.concatenate([part, sums.x - part]),
            np.concatenate([np.where(part > 0, 1.0, 0.0), sums.y - (part > 0)]),
        )
        one, other = compare(sums), compare(halves)
        assert other.units == one.units
        assert other.difference == pytest.approx(one.difference, rel=EXACT, abs=1e-12)
        assert other.variance == pytest.approx(one.variance, rel=1e-7)

    @few_examples
    @given(unit_sums)
    def test_swapped_arms_change_the_sign(self, sums: UnitSums) -> None:
        one, other = compare(sums), compare(replace(sums, treated=~sums.treated))
        assert other.difference == pytest.approx(-one.difference, rel=EXACT)
        assert (other.variance, other.conservative_variance) == pytest.approx(
            (one.variance, one.conservative_variance), rel=EXACT
        )

    @few_examples
    @given(unit_sums, st.floats(0.1, 10))
    def test_difference_scales_with_the_outcome_and_not_with_exposures(
        self, sums: UnitSums, factor: float
    ) -> None:
        one = compare(sums)
        scaled = compare(replace(sums, y=factor * sums.y))
        assert scaled.difference == pytest.approx(factor * one.difference, rel=1e-7, abs=1e-12)
        assert scaled.conservative_variance == pytest.approx(
            factor**2 * one.conservative_variance, rel=1e-7
        )
        diluted = compare(replace(sums, x=2 * sums.x, y=2 * sums.y))
        assert diluted.difference == pytest.approx(one.difference, rel=1e-7, abs=1e-12)
        assert diluted.variance == pytest.approx(one.variance, rel=1e-7)

    @few_examples
    @given(unit_sums)
    def test_conservative_variance_is_at_least_the_variance(self, sums: UnitSums) -> None:
        found = compare(sums)
        assert found.conservative_variance >= found.variance * (1 - EXACT)


def cell(first: int, units: int, events: int, stratum: int, treated: bool) -> UnitSums:
    """Units of one stratum and arm; the first ones have an event."""
    unit = np.arange(first, first + units)
    return UnitSums(
        unit,
        np.full(units, stratum),
        np.full(units, treated),
        np.ones(units),
        (np.arange(units) < events).astype(np.float64),
    )


def concatenate(*parts: UnitSums) -> UnitSums:
    names = ("unit", "stratum", "treated", "x", "y")
    return UnitSums(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def test_strata_resolve_simpsons_paradox() -> None:
    """Kidney stones (Charig et al., BMJ 1986): open surgery succeeds more often for small
    stones, 81/87 against 234/270, and for large stones, 192/263 against 55/80, and less often
    pooled."""
    sums = concatenate(
        cell(0, 270, 234, stratum=0, treated=False),
        cell(1000, 87, 81, stratum=0, treated=True),
        cell(2000, 80, 55, stratum=1, treated=False),
        cell(3000, 263, 192, stratum=1, treated=True),
    )
    pooled = compare(replace(sums, stratum=np.zeros_like(sums.stratum)))
    assert pooled.difference == pytest.approx(273 / 350 - 289 / 350)
    expected = 357 / 700 * (81 / 87 - 234 / 270) + 343 / 700 * (192 / 263 - 55 / 80)
    assert compare(sums).difference == pytest.approx(expected, rel=EXACT)
    assert pooled.difference < 0 < expected


def test_a_unit_in_both_arms_is_one_unit() -> None:
    """By hand: four units, two in each arm, change arms in the second stratum. The influences of
    the units are (0.5, 0.5, -0.5, -0.5) sqrt(2) / 4 in treatment and the same in control, so their
    differences are 0."""
    unit = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    stratum = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    treated = np.array([1, 0, 1, 0, 0, 1, 0, 1], bool)
    y = np.array([1, 1, 0, 0, 1, 1, 0, 0], float)
    found = compare(UnitSums(unit, stratum, treated, np.ones(8), y))
    assert (found.units, found.units_control, found.units_treatment) == (4, 4, 4)
    assert (found.difference, found.variance) == (0, 0)
    distinct = compare(UnitSums(np.arange(8), stratum, treated, np.ones(8), y))
    assert distinct.variance == pytest.approx(8 * 0.5**2 * 2 / 4**2)


def unit_sums_of(
    unit: list[int], treated: list[bool], y: list[float], stratum: list[int] | None = None
) -> UnitSums:
    return UnitSums(
        np.array(unit, np.int64),
        np.array(stratum or [0] * len(unit), np.int64),
        np.array(treated, np.bool_),
        np.ones(len(unit)),
        np.array(y, np.float64),
    )


class TestSmallSamples:
    def test_without_rows_nothing_is_known(self) -> None:
        found = compare(unit_sums_of([], [], []))
        assert (found.units, found.strata, found.variance) == (0, 0, math.inf)
        assert math.isnan(found.difference)
        assert not interval(found).is_known

    def test_an_empty_arm_leaves_the_stratum_out(self) -> None:
        found = compare(unit_sums_of([1, 2, 3], [False] * 3, [0, 1, 0]))
        assert (found.units, found.strata_left_out, found.exposures_left_out) == (0, 1, 3)
        assert not interval(found).is_known
        assert not fixed_horizon(found.difference, found.variance).is_known

    def test_one_unit_has_no_interval(self) -> None:
        assert not interval(compare(unit_sums_of([1], [True], [1]))).is_known

    def test_one_unit_in_an_arm_has_a_difference_without_interval(self) -> None:
        found = compare(unit_sums_of([1, 2, 3], [True, False, False], [1, 0, 1]))
        assert found.difference == 0.5
        assert not interval(found).is_known

    def test_equal_units_have_no_interval(self) -> None:
        found = compare(unit_sums_of([1, 2, 3, 4], [True, False, True, False], [0.1] * 4))
        assert (found.difference, found.variance, found.conservative_variance) == (0, 0, 0)
        assert not interval(found).is_known

    def test_arms_without_variance_that_differ_have_an_interval(self) -> None:
        """Treatment always fails and control never does."""
        treated = np.arange(500) < 50
        sums = unit_sums_of(list(range(500)), treated.tolist(), treated.astype(float).tolist())
        found = compare(sums)
        assert found.variance == 0
        assert found.conservative_variance == pytest.approx(
            0.1 * 0.9 * 500 / 499 * (1 / 50 + 1 / 450)
        )
        assert interval(found).low > 0.5

    def test_without_exposures_the_difference_is_nan(self) -> None:
        no_exposures = replace(
            unit_sums_of([1, 2, 3, 4], [True, False] * 2, [0.0] * 4), x=np.zeros(4)
        )
        assert math.isnan(compare(no_exposures).difference)

    def test_strata_with_an_empty_arm_are_left_out_and_counted(self) -> None:
        sums = unit_sums_of(
            [1, 2, 3, 4, 5, 6],
            [True, False, True, False, True, True],
            [1, 0, 0, 0, 1, 1],
            [0, 0, 0, 0, 1, 2],
        )
        found = compare(sums)
        assert (found.strata, found.strata_left_out, found.exposures_left_out) == (1, 2, 2)
        assert (found.units, found.difference) == (4, 0.5)

    def test_single_units_of_a_stratum_and_arm_have_a_variance(self) -> None:
        """Ten strata with one unit in each arm have the variance of twenty units. Centred by the
        mean of the stratum and arm, it would be 0."""
        y = [1.0, 0.0, 0.0, 1.0] * 5
        sums = unit_sums_of(list(range(20)), [True, False] * 10, y, [row // 2 for row in range(20)])
        assert compare(sums).variance == pytest.approx(2 * 0.25 / 9)


def separate_ratio_difference(x: Floats, y: Floats, treated: Flags) -> float:
    """The separate ratio estimator: ratios by stratum (rows), averaged by exposures."""
    sums = [(v * arm).sum(axis=1) for arm in (treated, ~treated) for v in (y, x)]
    return float(np.average(sums[0] / sums[1] - sums[2] / sums[3], weights=sums[1] + sums[3]))


def test_many_small_strata_cause_no_bias() -> None:
    """No effect; active users fail less; 20 users an hour, 15 % in treatment. The mean of 100
    experiments is within 4 standard errors of 0, that of the separate estimator beyond 10."""
    rng = np.random.default_rng(3)
    hours, users = 400, 20
    combined, separate = [], []
    for _ in range(100):
        activity = rng.lognormal(0, 1, (hours, users))
        x = 1 + rng.poisson(2 * activity).astype(np.float64)
        y = rng.binomial(x.astype(int), np.minimum(0.07 * activity**-0.7, 1)).astype(float)
        treated = rng.random((hours, users)) < 0.15
        has_both = treated.any(axis=1) & ~treated.all(axis=1)
        stratum = np.repeat(np.arange(hours), users)
        sums = UnitSums(np.arange(hours * users), stratum, treated.ravel(), x.ravel(), y.ravel())
        combined.append(compare(sums).difference)
        separate.append(separate_ratio_difference(x[has_both], y[has_both], treated[has_both]))
    z_combined, z_separate = (10 * np.mean(d) / np.std(d) for d in (combined, separate))
    assert abs(z_combined) < 4
    assert abs(z_separate) > 10


def test_unit_shares_are_compared_by_first_assignment() -> None:
    sums = unit_sums_of(
        [1, 1, 2, 3, 4], [False, True, True, False, True], [0, 1, 0, 0, 1], [0, 1, 0, 0, 0]
    )
    found = compare(unit_share(sums))
    assert (found.control, found.treatment, found.units) == (0.5, 0.5, 4)
