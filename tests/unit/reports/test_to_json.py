from __future__ import annotations

import math

import numpy as np
import pytest

from serve_app.evidence.comparison import compare
from serve_app.evidence.confidence import Interval, rate
from serve_app.evidence.srm import SrmCounts, check
from serve_app.evidence.units import UnitSums
from serve_app.evidence.verdict import Measure
from serve_app.reports import to_json
from tests.unit.reports.conftest import as_json

ERROR_RATE = Measure("error rate", "decrease", 0.01)
NO_SRM = check([])


def sums(control: list[float], treatment: list[float]) -> UnitSums:
    """One unit with one exposure per value."""
    y = np.array(control + treatment)
    treated = np.arange(len(y)) >= len(control)
    return UnitSums(np.arange(len(y)), np.zeros(len(y), np.int64), treated, np.ones(len(y)), y)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_a_number_that_is_not_finite_is_null(value: float | None) -> None:
    assert to_json.number(value) is None


def test_a_finite_number_is_unchanged() -> None:
    assert to_json.number(-0.25) == -0.25


def test_an_infinite_end_of_an_interval_is_null() -> None:
    assert to_json.interval(Interval(-math.inf, 0.5)) == [None, 0.5]


def test_a_measure_has_arms_intervals_and_power() -> None:
    content = as_json(to_json.measure(ERROR_RATE, compare(sums([0, 0, 0, 1], [0, 1])), NO_SRM))
    assert (content["control"], content["treatment"], content["difference"]) == (0.25, 0.5, 0.25)
    assert content["units"] == {"control": 4, "treatment": 2}
    low, high = content["interval"]
    assert low < content["fixed_horizon_interval"][0] < 0.25
    assert 0.25 < content["fixed_horizon_interval"][1] < high
    assert content["finding"] == "keep going"
    assert content["units_needed"] > 6
    assert content["detectable_effect"] > 0.25


@pytest.mark.parametrize(
    ("control", "treatment"), [([], []), ([0], []), ([1], [0]), ([0, 0], [0, 0])]
)
def test_unknown_numbers_of_a_measure_are_null(
    control: list[float], treatment: list[float]
) -> None:
    content = as_json(to_json.measure(ERROR_RATE, compare(sums(control, treatment)), NO_SRM))
    assert content["interval"] == content["fixed_horizon_interval"] == [None, None]
    assert content["finding"] == "not known"
    assert content["detectable_effect"] is content["units_needed"] is None


def test_a_measure_has_the_same_keys_for_unknown_numbers() -> None:
    known, unknown = sums([0, 0, 1], [0, 1, 1]), sums([], [])
    first, second = (
        to_json.measure(ERROR_RATE, compare(each), NO_SRM) for each in (known, unknown)
    )
    assert first.keys() == second.keys()


def test_an_srm_check_has_counts_and_p() -> None:
    content = as_json(to_json.srm(check([SrmCounts(1, 100, 0, 0.5)])))
    assert (content["control"], content["treatment"], content["expected_treatment"]) == (100, 0, 50)
    assert content["p"] < 1e-9
    assert content["invalid"]


def test_a_unit_of_an_arm_with_weight_0_has_p_0() -> None:
    assert as_json(to_json.srm(check([SrmCounts(1, 5, 1, 0.0)])))["p"] == 0


def test_a_rate_without_trials_is_null() -> None:
    assert to_json.rate(rate(0, 0)) == {"estimate": None, "interval": [0.0, 1.0]}
