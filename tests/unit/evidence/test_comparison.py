"""Against statsmodels, textbook arithmetic and laws."""

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
    """Rows of units with heavy exposures; `moving` ones are in another arm in each stratum."""
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(units), strata)
    stratum = np.tile(np.arange(strata), units)
    treated = rng.random(units)[unit] < weight
    if moving:
        treated = rng.random(len(unit)) < weight
    treated[unit < 4] = unit[unit < 4] % 2 == 0  # neither arm is empty
    x = 1 + np.floor(rng.lognormal(1, 1, len(unit)))
    y = rng.binomial(x.astype(int), rng.beta(2, 5, units)[unit]).astype(float)
    return UnitSums(unit, stratum, treated, x, y)


few = settings(max_examples=40)
unit_sums = st.builds(
    draw,
    st.integers(0, 10_000),
    st.integers(8, 40),
    st.integers(1, 4),
    st.floats(0.3, 0.7),
    st.booleans(),
)


def regression(sums: UnitSums, **covariance: object) -> tuple[float, float]:
    """Treatment's coefficient and its variance: y / x on arm, weighted by x."""
    design = sm.add_constant(sums.treated.astype(float))
    fit = sm.WLS(sums.y / sums.x, design, weights=sums.x).fit(**covariance)
    return float(fit.params[1]), float(fit.cov_params()[1, 1])


class TestAgainstOthers:
    def test_unit_means_have_the_variance_of_welch(self) -> None:
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

    def test_hc2_of_the_mean_regression(self) -> None:
        """n / (n - 1) is HC2's correction for leverage where each unit has one exposure."""
        sums = draw(2)
        ones = replace(sums, x=np.ones(len(sums.x)))
        found = compare(ones)
        assert (found.difference, found.variance) == pytest.approx(
            regression(ones, cov_type="HC2"), rel=EXACT
        )

    def test_the_delta_method_of_a_ratio(self) -> None:
        """Deng, Knoblich, Lu (KDD 2018), in moments of each arm."""
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

    def test_clustered_weighted_least_squares(self) -> None:
        """statsmodels' clusters lack n / (n - 1) by arm; arms of equal size share the factor."""
        sums = draw(4, units=50, strata=3)
        sums = replace(sums, treated=sums.unit % 2 == 0, stratum=np.zeros_like(sums.stratum))
        difference, variance = regression(
            sums, cov_type="cluster", cov_kwds={"groups": sums.unit, "use_correction": False}
        )
        found = compare(sums)
        assert found.difference == pytest.approx(difference, rel=EXACT)
        assert found.variance == pytest.approx(variance * 25 / 24, rel=EXACT)

    def test_a_proportions_z_test_on_unit_shares(self) -> None:
        """NIST handbook 7.3.3 in form; unpooled variances, with n - 1 for n."""
        treated = np.repeat([False, True], [200, 300])
        y = np.concatenate([np.arange(200) < 30, np.arange(300) < 24]).astype(float)
        found = compare(UnitSums(np.arange(500), np.zeros(500, int), treated, np.ones(500), y))
        assert (found.control, found.treatment) == pytest.approx((0.15, 0.08))
        assert found.variance == pytest.approx(0.15 * 0.85 / 199 + 0.08 * 0.92 / 299, rel=EXACT)
        assert found.cautious == pytest.approx(
            0.15 * 0.85 * 200 / 199 * (1 / 200 + 1 / 300), rel=EXACT
        )
        assert found.balanced_units == 480
        assert found.unit_variance == pytest.approx(0.15 * 0.85 * 200 / 199, rel=EXACT)

    def test_stratified_means(self) -> None:
        """Cochran (1977), section 5A.9: poststratified, weights by units of both arms."""
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
            inside = sums.stratum == stratum
            weight = inside.mean()
            for arm, sign in ((True, 1), (False, -1)):
                y = sums.y[inside & (sums.treated == arm)]
                difference += weight * sign * y.mean()
                variance += weight**2 * y.var(ddof=1) / len(y)
        found = compare(sums)
        assert found.difference == pytest.approx(difference, rel=EXACT)
        assert found.variance == pytest.approx(variance, rel=EXACT)


class TestLaws:
    @few
    @given(unit_sums, st.integers(0, 100))
    def test_neither_the_order_nor_the_names_of_rows_matter(
        self, sums: UnitSums, seed: int
    ) -> None:
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
        assert other.cautious == pytest.approx(one.cautious, rel=1e-7)

    @few
    @given(unit_sums)
    def test_rows_of_a_unit_add_up(self, sums: UnitSums) -> None:
        """A unit cut in rows is still one unit."""
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

    @few
    @given(unit_sums)
    def test_arms_that_change_places_change_the_sign(self, sums: UnitSums) -> None:
        one, other = compare(sums), compare(replace(sums, treated=~sums.treated))
        assert other.difference == pytest.approx(-one.difference, rel=EXACT)
        assert (other.variance, other.cautious) == pytest.approx(
            (one.variance, one.cautious), rel=EXACT
        )

    @few
    @given(unit_sums, st.floats(0.1, 10))
    def test_the_outcome_has_a_scale_and_exposures_have_none(
        self, sums: UnitSums, factor: float
    ) -> None:
        one = compare(sums)
        scaled = compare(replace(sums, y=factor * sums.y))
        assert scaled.difference == pytest.approx(factor * one.difference, rel=1e-7, abs=1e-12)
        assert scaled.cautious == pytest.approx(factor**2 * one.cautious, rel=1e-7)
        diluted = compare(replace(sums, x=2 * sums.x, y=2 * sums.y))
        assert diluted.difference == pytest.approx(one.difference, rel=1e-7, abs=1e-12)
        assert diluted.variance == pytest.approx(one.variance, rel=1e-7)

    @few
    @given(unit_sums)
    def test_caution_only_adds(self, sums: UnitSums) -> None:
        found = compare(sums)
        assert found.cautious >= found.variance * (1 - EXACT)


def cell(first: int, units: int, events: int, stratum: int, treated: bool) -> UnitSums:
    """Units that begin with those that had an event."""
    unit = np.arange(first, first + units)
    return UnitSums(
        unit,
        np.full(units, stratum),
        np.full(units, treated),
        np.ones(units),
        (np.arange(units) < events).astype(np.float64),
    )


def together(*parts: UnitSums) -> UnitSums:
    names = ("unit", "stratum", "treated", "x", "y")
    return UnitSums(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def test_simpsons_paradox_is_not_fallen_for() -> None:
    """Kidney stones (Charig et al., BMJ 1986): open surgery is better for small stones, 81/87
    against 234/270, and for large ones, 192/263 against 55/80; pooled it looks worse."""
    sums = together(
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
    """Worked by hand. Four units, two in each arm, change places in the second epoch: what is a
    unit's own cancels. Influences in treatment, of both epochs: 0.5, 0.5, -0.5, -0.5 times
    sqrt(2) over 4, and the same in control, so that nothing is left."""
    unit = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    stratum = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    treated = np.array([1, 0, 1, 0, 0, 1, 0, 1], bool)
    y = np.array([1, 1, 0, 0, 1, 1, 0, 0], float)
    found = compare(UnitSums(unit, stratum, treated, np.ones(8), y))
    assert (found.units, found.units_control, found.units_treatment) == (4, 4, 4)
    assert (found.difference, found.variance) == (0, 0)
    strangers = compare(UnitSums(np.arange(8), stratum, treated, np.ones(8), y))
    assert strangers.variance == pytest.approx(8 * 0.5**2 * 2 / 4**2)


def small(
    unit: list[int], treated: list[bool], y: list[float], stratum: list[int] | None = None
) -> UnitSums:
    return UnitSums(
        np.array(unit, np.int64),
        np.array(stratum or [0] * len(unit), np.int64),
        np.array(treated, np.bool_),
        np.ones(len(unit)),
        np.array(y, np.float64),
    )


class TestLittleData:
    def test_nothing(self) -> None:
        found = compare(small([], [], []))
        assert (found.units, found.strata, found.variance) == (0, 0, math.inf)
        assert math.isnan(found.difference)
        assert not interval(found).is_known

    def test_an_empty_arm(self) -> None:
        found = compare(small([1, 2, 3], [False] * 3, [0, 1, 0]))
        assert (found.units, found.left_out, found.exposures_left_out) == (0, 1, 3)
        assert not interval(found).is_known
        assert not fixed_horizon(found.difference, found.variance).is_known

    def test_one_unit(self) -> None:
        assert not interval(compare(small([1], [True], [1]))).is_known

    def test_one_unit_in_an_arm(self) -> None:
        """There is a difference, and no way to judge it."""
        found = compare(small([1, 2, 3], [True, False, False], [1, 0, 1]))
        assert found.difference == 0.5
        assert not interval(found).is_known

    def test_units_that_do_not_differ(self) -> None:
        found = compare(small([1, 2, 3, 4], [True, False, True, False], [0.1] * 4))
        assert (found.difference, found.variance, found.cautious) == (0, 0, 0)
        assert not interval(found).is_known

    def test_a_candidate_that_fails_everybody(self) -> None:
        """There is no spread in either arm, and no doubt."""
        treated = np.arange(500) < 50
        sums = small(list(range(500)), treated.tolist(), treated.astype(float).tolist())
        found = compare(sums)
        assert found.variance == 0
        assert found.cautious == pytest.approx(0.1 * 0.9 * 500 / 499 * (1 / 50 + 1 / 450))
        assert interval(found).low > 0.5

    def test_no_exposure_at_all(self) -> None:
        nothing = replace(small([1, 2, 3, 4], [True, False] * 2, [0.0] * 4), x=np.zeros(4))
        assert math.isnan(compare(nothing).difference)

    def test_strata_without_an_arm_are_left_out_and_counted(self) -> None:
        sums = small(
            [1, 2, 3, 4, 5, 6],
            [True, False, True, False, True, True],
            [1, 0, 0, 0, 1, 1],
            [0, 0, 0, 0, 1, 2],
        )
        found = compare(sums)
        assert (found.strata, found.left_out, found.exposures_left_out) == (1, 2, 2)
        assert (found.units, found.difference) == (4, 0.5)

    def test_a_unit_alone_in_each_stratum_keeps_its_spread(self) -> None:
        """Centred by its own mean it would seem to have none. Ten strata of one unit an arm: the
        variance is that of twenty units, not zero."""
        y = [1.0, 0.0, 0.0, 1.0] * 5
        sums = small(list(range(20)), [True, False] * 10, y, [row // 2 for row in range(20)])
        assert compare(sums).variance == pytest.approx(2 * 0.25 / 9)


def separate(x: Floats, y: Floats, treated: Flags) -> float:
    """The estimator that is not used: ratios by stratum (rows), averaged by exposures."""
    sums = [(v * arm).sum(axis=1) for arm in (treated, ~treated) for v in (y, x)]
    return float(np.average(sums[0] / sums[1] - sums[2] / sums[3], weights=sums[1] + sums[3]))


def test_many_small_strata_leave_no_bias() -> None:
    """No effect; users who come often fail less; 20 of them an hour, 15 % in treatment. The mean
    of 100 experiments is within 4 standard errors of 0, that of the separate estimator beyond 10.
    """
    rng = np.random.default_rng(3)
    hours, users = 400, 20
    ours, theirs = [], []
    for _ in range(100):
        activity = rng.lognormal(0, 1, (hours, users))
        x = 1 + rng.poisson(2 * activity).astype(np.float64)
        y = rng.binomial(x.astype(int), np.minimum(0.07 * activity**-0.7, 1)).astype(float)
        treated = rng.random((hours, users)) < 0.15
        full = treated.any(axis=1) & ~treated.all(axis=1)
        stratum = np.repeat(np.arange(hours), users)
        sums = UnitSums(np.arange(hours * users), stratum, treated.ravel(), x.ravel(), y.ravel())
        ours.append(compare(sums).difference)
        theirs.append(separate(x[full], y[full], treated[full]))
    z_ours, z_theirs = (10 * np.mean(d) / np.std(d) for d in (ours, theirs))
    assert abs(z_ours) < 4
    assert abs(z_theirs) > 10


def test_the_share_of_units_is_compared_where_they_were_first() -> None:
    sums = small(
        [1, 1, 2, 3, 4], [False, True, True, False, True], [0, 1, 0, 0, 1], [0, 1, 0, 0, 0]
    )
    found = compare(unit_share(sums))
    assert (found.control, found.treatment, found.units) == (0.5, 0.5, 4)
