from __future__ import annotations

import numpy as np
import pytest

from serve_app.evidence.comparison import compare
from serve_app.evidence.srm import check
from serve_app.evidence.units import UnitSums
from serve_app.evidence.verdict import Finding, Measure
from serve_app.reports.parts import AssessedMeasure, KnownLabels
from tests.unit.reports.conftest import as_json

ERROR_RATE = Measure("error rate", "decrease", 0.01)
NO_SRM = check([])


def assess(control: list[float], treatment: list[float]) -> AssessedMeasure:
    """The error rate of one unit with one exposure per value."""
    y = np.array(control + treatment)
    treated = np.arange(len(y)) >= len(control)
    sums = UnitSums(np.arange(len(y)), np.zeros(len(y), np.int64), treated, np.ones(len(y)), y)
    return AssessedMeasure.of(ERROR_RATE, compare(sums), NO_SRM)


def test_a_measure_has_arms_intervals_and_power() -> None:
    measure = assess([0, 0, 0, 1], [0, 1])
    compared = measure.compared
    assert (compared.control, compared.treatment, compared.difference) == (0.25, 0.5, 0.25)
    assert (compared.units.control, compared.units.treatment) == (4, 2)
    single_look = compared.fixed_horizon_interval
    assert compared.interval.low < single_look.low < 0.25
    assert 0.25 < single_look.high < compared.interval.high
    assert measure.finding is Finding.KEEP_GOING
    assert measure.units_needed is not None
    assert measure.units_needed > 6
    assert measure.detectable_effect is not None
    assert measure.detectable_effect > 0.25


@pytest.mark.parametrize(
    ("control", "treatment"), [([], []), ([0], []), ([1], [0]), ([0, 0], [0, 0])]
)
def test_unknown_numbers_of_a_measure_are_null(
    control: list[float], treatment: list[float]
) -> None:
    content = as_json(assess(control, treatment))
    assert content["interval"] == content["fixed_horizon_interval"] == [None, None]
    assert content["finding"] == "not known"
    assert content["detectable_effect"] is content["units_needed"] is None


def test_new_labels_are_those_that_only_treatment_knows() -> None:
    known = KnownLabels.of(("dog", "cat", "fox"), ("koala", "cat", "dog"))
    assert (known.shared, known.new) == (["cat", "dog"], ["koala"])
