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

FAILED = Measure("answers that failed", "decrease", 0.01)
FITS = check([])


def sums(control: list[float], treatment: list[float]) -> UnitSums:
    """A unit a value, with one exposure."""
    y = np.array(control + treatment)
    treated = np.arange(len(y)) >= len(control)
    return UnitSums(np.arange(len(y)), np.zeros(len(y), np.int64), treated, np.ones(len(y)), y)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_what_is_no_number_is_null(value: float | None) -> None:
    assert to_json.number(value) is None


def test_a_number_is_itself() -> None:
    assert to_json.number(-0.25) == -0.25


def test_an_end_that_is_not_known_is_null() -> None:
    assert to_json.bounds(Interval(-math.inf, 0.5)) == [None, 0.5]


def test_a_measure_says_all_that_is_known() -> None:
    told = as_json(to_json.measured(FAILED, compare(sums([0, 0, 0, 1], [0, 1])), FITS))
    assert (told["control"], told["treatment"], told["difference"]) == (0.25, 0.5, 0.25)
    assert told["units"] == {"control": 4, "treatment": 2}
    low, high = told["interval"]
    assert low < told["fixed_horizon_interval"][0] < 0.25
    assert 0.25 < told["fixed_horizon_interval"][1] < high
    assert told["finding"] == "keep going"
    assert told["units_needed"] > 6
    assert told["detectable"] > 0.25


@pytest.mark.parametrize(
    ("control", "treatment"), [([], []), ([0], []), ([1], [0]), ([0, 0], [0, 0])]
)
def test_what_is_not_known_of_it_is_null(control: list[float], treatment: list[float]) -> None:
    told = as_json(to_json.measured(FAILED, compare(sums(control, treatment)), FITS))
    assert told["interval"] == told["fixed_horizon_interval"] == [None, None]
    assert told["finding"] == "not known"
    assert told["detectable"] is told["units_needed"] is None


def test_a_measure_has_the_same_keys_whatever_is_known() -> None:
    known, unknown = sums([0, 0, 1], [0, 1, 1]), sums([], [])
    told = [to_json.measured(FAILED, compare(each), FITS) for each in (known, unknown)]
    assert told[0].keys() == told[1].keys()


def test_a_mismatch_is_told() -> None:
    told = as_json(to_json.mismatch(check([SrmCounts(1, 100, 0, 0.5)])))
    assert (told["control"], told["treatment"], told["expected_treatment"]) == (100, 0, 50)
    assert told["p"] < 1e-9
    assert told["invalid"]


def test_an_impossible_unit_is_a_mismatch_in_json_too() -> None:
    """Of a version that was promised nothing."""
    assert as_json(to_json.mismatch(check([SrmCounts(1, 5, 1, 0.0)])))["p"] == 0


def test_a_share_of_nothing_is_not_known() -> None:
    assert to_json.share(rate(0, 0)) == {"estimate": None, "interval": [0.0, 1.0]}
