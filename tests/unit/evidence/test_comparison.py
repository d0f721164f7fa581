"""Comparisons of means of units: equality with references, invariants and small samples."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from serve_app.evidence.comparison import Comparison, UnitGroups
from serve_app.evidence.confidence import fixed_horizon, interval
from serve_app.evidence.units import Floats

EXACT = 1e-9
SHARE = (0.0, 1.0)

# stratum, treated, outcome, number of units
GroupRow = tuple[int, bool, float, int]
group_rows = st.lists(
    st.tuples(
        st.integers(0, 3), st.booleans(), st.sampled_from([0.0, 1.0, 4.5]), st.integers(0, 3)
    ),
    max_size=30,
)


def groups_of(rows: list[GroupRow]) -> tuple[UnitGroups, Floats]:
    stratum, treated, y, count = np.array(rows, np.float64).reshape(-1, 4).T
    return UnitGroups(stratum.astype(np.int64), treated.astype(np.bool_), count), y


def compare(rows: list[GroupRow], bounds: tuple[float, float] | None = None) -> Comparison:
    groups, y = groups_of(rows)
    return groups.compare(y, bounds)


def draw(seed: int, units: int = 60, strata: int = 1) -> tuple[UnitGroups, Floats]:
    """Units with heavy-tailed outcomes; the share of treatment and the level differ by stratum."""
    rng = np.random.default_rng(seed)
    stratum = np.arange(units) % strata
    treated = rng.random(units) < 0.3 + 0.4 * stratum / strata
    y = rng.lognormal(0, 1, units) + stratum
    return UnitGroups(stratum, treated, np.ones(units)), y


class TestReferences:
    def test_difference_has_the_variance_of_welchs_test(self) -> None:
        groups, y = draw(1)
        control, treatment = y[~groups.treated], y[groups.treated]
        found = groups.compare(y)
        welch = stats.ttest_ind(treatment, control, equal_var=False)
        assert found.difference == pytest.approx(treatment.mean() - control.mean(), rel=EXACT)
        assert found.difference / math.sqrt(found.variance) == pytest.approx(
            welch.statistic, rel=EXACT
        )
        assert (found.units_control, found.units_treatment) == (len(control), len(treatment))

    def test_difference_has_the_hc2_variance_of_least_squares(self) -> None:
        groups, y = draw(2)
        fit = sm.OLS(y, sm.add_constant(groups.treated.astype(float))).fit(cov_type="HC2")
        found = groups.compare(y)
        assert (found.difference, found.variance) == pytest.approx(
            (fit.params[1], fit.cov_params()[1, 1]), rel=EXACT
        )

    def test_shares_have_the_variance_of_a_proportions_z_test(self) -> None:
        """NIST handbook 7.3.3, with unpooled variances and n - 1 for n."""
        found = compare(
            [(0, False, 1, 30), (0, False, 0, 170), (0, True, 1, 24), (0, True, 0, 276)]
        )
        assert (found.control, found.treatment) == pytest.approx((0.15, 0.08))
        assert found.variance == pytest.approx(0.15 * 0.85 / 199 + 0.08 * 0.92 / 299, rel=EXACT)
        assert found.conservative_variance == pytest.approx(
            0.15 * 0.85 * 200 / 199 * (1 / 200 + 1 / 300), rel=EXACT
        )
        assert found.balanced_units == 480
        assert found.unit_variance == pytest.approx(0.15 * 0.85 * 200 / 199, rel=EXACT)

    def test_means_of_several_strata_are_poststratified(self) -> None:
        """Cochran (1977), section 5A.9, with weights by units of both arms."""
        groups, y = draw(5, units=80, strata=3)
        difference = variance = 0.0
        for stratum in range(3):
            is_inside = groups.stratum == stratum
            weight = is_inside.mean()
            for arm, sign in ((True, 1), (False, -1)):
                values = y[is_inside & (groups.treated == arm)]
                difference += weight * sign * values.mean()
                variance += weight**2 * values.var(ddof=1) / len(values)
        found = groups.compare(y)
        assert found.difference == pytest.approx(difference, rel=EXACT)
        assert found.variance == pytest.approx(variance, rel=EXACT)

    def test_spread_and_effective_units_are_those_of_weighted_units(self) -> None:
        """A unit of stratum s and arm a has the weight (N_s / N) / n_as in the mean of its arm."""
        groups, y = draw(6, units=80, strata=3)
        y = y / y.max()
        found = groups.compare(y, SHARE)
        assert found.bounded is not None
        for arm, mean in enumerate((found.control, found.treatment)):
            rows = groups.treated == arm
            of_all, of_arm = (np.bincount(groups.stratum[r]) for r in (rows | True, rows))
            weight = (of_all / of_arm)[groups.stratum[rows]] / len(y)
            assert weight.sum() == pytest.approx(1)
            assert found.bounded.spread[arm] == pytest.approx(weight @ (y[rows] - mean) ** 2)
            assert found.bounded.effective_units[arm] == pytest.approx(1 / (weight @ weight))


class TestInvariants:
    @given(group_rows)
    def test_groups_are_compared_like_single_units(self, rows: list[GroupRow]) -> None:
        singles = [(s, arm, y, 1) for s, arm, y, count in rows for _ in range(count)]
        found, expected = compare(rows), compare(singles)
        for name in ("control", "treatment", "variance", "conservative_variance"):
            assert getattr(found, name) == pytest.approx(
                getattr(expected, name), rel=EXACT, nan_ok=True
            )
        assert (found.units, found.strata) == (expected.units, expected.strata)
        assert found.strata_left_out == expected.strata_left_out
        assert found.units + found.units_left_out == len(singles)

    @given(group_rows)
    def test_swapped_arms_change_the_sign(self, rows: list[GroupRow]) -> None:
        one = compare(rows)
        other = compare([(s, not arm, y, count) for s, arm, y, count in rows])
        assert other.difference == pytest.approx(-one.difference, nan_ok=True)
        assert other.conservative_variance == pytest.approx(one.conservative_variance, rel=EXACT)

    @given(group_rows)
    def test_conservative_variance_is_at_least_the_variance(self, rows: list[GroupRow]) -> None:
        found = compare(rows)
        assert found.conservative_variance >= found.variance * (1 - EXACT)

    @given(group_rows)
    def test_numbering_of_strata_does_not_matter(self, rows: list[GroupRow]) -> None:
        one = compare(rows)
        other = compare([(7 - 5 * s, arm, y, count) for s, arm, y, count in reversed(rows)])
        assert other.difference == pytest.approx(one.difference, abs=1e-12, nan_ok=True)
        assert other.variance == pytest.approx(one.variance, rel=1e-7)


def test_strata_resolve_simpsons_paradox() -> None:
    """Kidney stones (Charig et al., BMJ 1986): open surgery succeeds more often for small
    stones, 81/87 against 234/270, and for large stones, 192/263 against 55/80, and less often
    pooled."""
    rows: list[GroupRow] = [
        (0, False, 1, 234),
        (0, False, 0, 36),
        (0, True, 1, 81),
        (0, True, 0, 6),
        (1, False, 1, 55),
        (1, False, 0, 25),
        (1, True, 1, 192),
        (1, True, 0, 71),
    ]
    pooled = compare([(0, arm, y, count) for _, arm, y, count in rows])
    assert pooled.difference == pytest.approx(273 / 350 - 289 / 350)
    expected = 357 / 700 * (81 / 87 - 234 / 270) + 343 / 700 * (192 / 263 - 55 / 80)
    assert compare(rows).difference == pytest.approx(expected, rel=EXACT)
    assert pooled.difference < 0 < expected


class TestSmallSamples:
    def test_without_units_nothing_is_known(self) -> None:
        found = compare([], SHARE)
        assert (found.units, found.strata, found.variance) == (0, 0, math.inf)
        assert math.isnan(found.control)
        assert not interval(found).is_known

    def test_an_empty_arm_leaves_the_mean_of_the_other(self) -> None:
        found = compare([(0, False, 1, 1), (0, False, 0, 3)])
        assert found.control == 0.25
        assert math.isnan(found.treatment)
        assert (found.units, found.strata_left_out, found.units_left_out) == (0, 1, 4)
        assert not interval(found).is_known
        assert not fixed_horizon(found.difference, found.variance).is_known

    def test_arms_in_different_strata_are_not_compared(self) -> None:
        found = compare([(0, False, 1, 5), (1, True, 0, 5)], SHARE)
        assert (found.control, found.treatment) == (1, 0)
        assert (found.units, found.strata_left_out) == (0, 2)
        assert not interval(found).is_known

    def test_one_unit_in_an_arm_has_a_difference_without_interval(self) -> None:
        found = compare([(0, True, 1, 1), (0, False, 0, 1), (0, False, 1, 1)])
        assert found.difference == 0.5
        assert not interval(found).is_known

    def test_one_unit_in_an_arm_has_an_interval_of_a_share(self) -> None:
        found = interval(compare([(0, True, 1, 1), (0, False, 0, 1)], SHARE))
        assert (found.low, found.high) == (-1, 1)

    @pytest.mark.parametrize("value", [0.1, 1.0, 10 / 3, 4.1])
    def test_equal_outcomes_have_no_variance(self, value: float) -> None:
        """A rounding error is not a variance: its interval would have a width near 0."""
        found = compare([(s, arm, value, 7 + s) for s in range(9) for arm in (False, True)])
        assert found.variance == found.conservative_variance == 0
        assert not interval(found).is_known

    def test_differences_between_strata_are_no_variance(self) -> None:
        """The pooled variance is centred within strata as well."""
        found = compare([(s, arm, 3 + s / 7, 11) for s in range(9) for arm in (False, True)])
        assert found.variance == found.conservative_variance == 0

    def test_arms_without_variance_that_differ_have_a_pooled_one(self) -> None:
        found = compare([(0, False, 0, 450), (0, True, 1, 50)])
        assert found.variance == 0
        assert found.conservative_variance == pytest.approx(
            0.1 * 0.9 * 500 / 499 * (1 / 50 + 1 / 450)
        )

    def test_strata_with_an_empty_arm_are_left_out_and_counted(self) -> None:
        found = compare(
            [(0, True, 1, 1), (0, True, 0, 1), (0, False, 0, 2), (1, True, 1, 1), (2, True, 1, 1)]
        )
        assert (found.strata, found.strata_left_out, found.units_left_out) == (1, 2, 2)
        assert (found.units, found.difference) == (4, 0.5)

    def test_single_units_of_a_stratum_and_arm_have_a_variance(self) -> None:
        """Ten strata with one unit in each arm have the variance of twenty units. Centred by the
        mean of the stratum and arm, it would be 0."""
        rows = [(s, arm, float(arm ^ (s % 2 == 0)), 1) for s in range(10) for arm in (False, True)]
        assert compare(rows).variance == pytest.approx(2 * 0.25 / 9)

    def test_empty_groups_form_no_stratum(self) -> None:
        found = compare([(1, False, 0, 0), (1, True, 1, 0), (2, False, 0, 2), (2, True, 1, 2)])
        assert (found.strata, found.strata_left_out, found.difference) == (1, 0, 1)


def test_negative_counts_are_rejected() -> None:
    groups, _ = draw(1, units=4)
    with pytest.raises(ValueError, match=r"count is -1\.0"):
        replace(groups, count=groups.count - 2)


def test_outcomes_out_of_range_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"outcomes are 0\.0 to 1\.5: expected 0\.0 to 1\.0"):
        compare([(0, False, 0, 1), (0, True, 1.5, 1)], SHARE)
