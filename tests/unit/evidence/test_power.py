"""Power: one design by hand, and invariants. `test_simulations` compares it with simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import norm

from serve_app.evidence.comparison import Comparison, UnitGroups
from serve_app.evidence.confidence import Interval, interval
from serve_app.evidence.power import detectable_effect, power, units_needed, units_to_decide

effects = st.floats(0.005, 0.2)
weights = st.floats(0.05, 0.95)
variances = st.floats(0.01, 1)


def test_power_by_hand() -> None:
    """A share of 5 %, an effect of 1 point, 40,000 units in two equal arms: the standard error is
    sqrt(4 * 0.0475 / 40,000) = 0.0021794, the effect 4.5883 and the critical value 3.5307 standard
    errors; Phi(4.5883 - 3.5307) = Phi(1.0576) = 85.49 %."""
    assert power(0.01, 40_000, 0.05 * 0.95) == pytest.approx(0.8549, abs=1e-4)


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
    """A power below that grows slowly, and the critical value may grow faster."""
    found = power(effect, units, variance, weight)
    assume(found > 0.01)
    assert power(effect, 2 * units, variance, weight) >= found
    assert power(1.5 * effect, units, variance, weight) >= found
    assert power(effect, units, variance, 0.5) >= found - 1e-12


def test_repeated_looks_need_about_twice_the_units_of_one_look() -> None:
    """For 80 % power: (3.5 + 0.84)^2 against (1.96 + 0.84)^2."""
    single = 4 * 0.0475 * (norm.isf(0.025) + norm.isf(0.2)) ** 2 / 0.01**2
    repeated = units_needed(0.01, 0.0475)
    assert repeated is not None
    assert 2.3 < repeated / single < 2.5


class TestUnitsToDecide:
    """Shares of 20,000 units, which are multiplied to get any number of units with these shares."""

    @given(st.integers(0, 900), st.integers(0, 900), st.floats(0.02, 0.98), st.floats(0.002, 0.05))
    def test_the_interval_decides_from_about_that_number_on(
        self, control: int, treatment: int, weight: float, tolerance: float
    ) -> None:
        compared = shares(control / 1000, treatment / 1000, weight, 20_000)
        units = units_to_decide(compared, tolerance)
        assume(units is not None)
        assert units is not None
        one_each = math.ceil(1 / min(weight, 1 - weight))
        more, fewer = int(1.01 * units) + one_each, int(0.9 * units) - one_each
        assert decides(shares(control / 1000, treatment / 1000, weight, more), tolerance)
        assume(fewer >= one_each)
        assert not decides(shares(control / 1000, treatment / 1000, weight, fewer), tolerance)

    def test_without_any_event(self) -> None:
        """The interval of a share narrows faster than that of a mean while there is no event."""
        assert units_to_decide(shares(0, 0, 0.5, 100), 0.01) == pytest.approx(1940, abs=20)

    def test_a_mean_needs_the_square_of_its_half_width(self) -> None:
        """40,000 units with an estimate of 0.2 and a tolerance of 1: the half-width of 0.8 is
        reached with a standard error of 0.8 / 3.5307; a hundredth of the units has ten times that
        standard error."""
        error = 0.8 / 3.5307
        compared = Comparison(5, 5.2, 1, 100 * error**2, 200, 200, 1, 0, 0)
        assert units_to_decide(compared, 1) == pytest.approx(40_000, rel=1e-3)

    def test_a_difference_that_units_do_not_tell_apart_is_never_decided(self) -> None:
        compared = shares(0.1, 0.1, 0.5, 1000)
        assert units_to_decide(compared, 0.01, possible=Interval(-0.02, 0.01)) is None
        assert units_to_decide(compared, 0.01, possible=Interval(-0.004, 0.004)) == pytest.approx(
            units_to_decide(compared, 0.006), rel=1e-3
        )
        assert units_to_decide(compared, 0.01, possible=Interval(0.03, 0.2)) == pytest.approx(
            units_to_decide(compared, 0.03), rel=1e-3
        )

    def test_without_units_of_both_arms_nothing_is_known(self) -> None:
        groups = UnitGroups(np.array([0]), np.array([False]), np.array([10.0]))
        assert units_to_decide(groups.compare(np.array([0.0]), (0, 1)), 0.01) is None

    def test_without_variance_of_a_mean_nothing_is_known(self) -> None:
        assert units_to_decide(Comparison(4, 4, math.inf, math.inf, 2, 1, 1, 0, 0), 0.01) is None


def shares(control: float, treatment: float, weight: float, units: int) -> Comparison:
    """The comparison of two shares; counts need not be integers."""
    sizes = np.array([1 - weight, weight]) * units
    events = sizes * [control, treatment]
    groups = UnitGroups(
        np.zeros(4, np.int64),
        np.array([False, True, False, True]),
        np.concatenate([events, sizes - events]),
    )
    return groups.compare(np.array([1.0, 1, 0, 0]), (0, 1))


def decides(compared: Comparison, tolerance: float) -> bool:
    found = interval(compared)
    return 0 not in found or -tolerance < found.low < found.high < tolerance


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
