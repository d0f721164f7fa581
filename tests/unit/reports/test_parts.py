from __future__ import annotations

import numpy as np
import pytest

from serve_app.evidence.comparison import UnitGroups
from serve_app.evidence.settled import AssignedAt, WeightPeriod, settle
from serve_app.evidence.srm import check
from serve_app.evidence.verdict import Finding, Measure, Pace
from serve_app.reports.parts import Arms, AssessedMeasure, KnownLabels, Settling
from tests.unit.reports.conftest import as_json

FAILURES = Measure("units with a failure", "decrease", 0.01)
NO_SRM = check([])


def assess(control: list[float], treatment: list[float], **options: object) -> AssessedMeasure:
    """The share of units with a failure; each value is a unit."""
    y = np.array(control + treatment)
    treated = np.arange(len(y)) >= len(control)
    groups = UnitGroups(np.zeros(len(y), np.int64), treated, np.ones(len(y)))
    compared = groups.compare(y, (0.0, 1.0))
    return AssessedMeasure.of(FAILURES, compared, NO_SRM, Pace(10.0), **options)  # type: ignore[arg-type]


def test_a_measure_has_arms_intervals_and_power() -> None:
    measure = assess([0, 0, 0, 1], [0, 1])
    compared = measure.compared
    assert (compared.control, compared.treatment, compared.difference) == (0.25, 0.5, 0.25)
    assert (compared.units.control, compared.units.treatment) == (4, 2)
    single_look = compared.fixed_horizon_interval
    assert -1 <= compared.interval.low < single_look.low < 0.25
    assert 0.25 < single_look.high <= compared.interval.high <= 1
    assert (measure.finding, measure.tolerance) == (Finding.KEEP_GOING, 0.01)
    assert measure.units_needed is not None
    assert measure.units_to_decide is not None
    assert measure.units_needed > measure.units_to_decide > 6
    assert measure.detectable_effect is not None
    assert measure.detectable_effect > 0.25
    assert "more settled units" in measure.sentence


@pytest.mark.parametrize(("control", "treatment"), [([], []), ([0], [])])
def test_unknown_numbers_of_a_measure_are_null(
    control: list[float], treatment: list[float]
) -> None:
    content = as_json(assess(control, treatment))
    assert content["interval"] == content["fixed_horizon_interval"] == [None, None]
    assert content["finding"] == "not known"
    assert content["detectable_effect"] is content["units_needed"] is None
    assert "nan" not in content["sentence"]


def test_no_failures_at_all_can_be_decided() -> None:
    """No variance can be estimated, but the share has bounds."""
    measure = assess([0] * 100, [0] * 100)
    assert measure.finding is Finding.KEEP_GOING
    assert measure.units_needed is None
    assert measure.units_to_decide is not None
    assert measure.compared.interval.high < 0.2


def test_a_measure_that_more_units_do_not_decide_says_why() -> None:
    measure = assess([0, 0, 0, 1], [0, 1], undecidable="three complaints name no label")
    assert measure.sentence.endswith("three complaints name no label.")
    assert measure.detectable_effect is measure.units_needed is measure.units_to_decide is None


def test_a_measure_without_a_verdict_keeps_its_figures() -> None:
    measure = assess([0, 0, 0, 1], [0, 1])
    silent = measure.without_verdict("Not known: a part only.")
    assert (silent.finding, silent.sentence) == (Finding.NOT_KNOWN, "Not known: a part only.")
    assert silent.compared == measure.compared


def test_the_units_that_count_are_counted() -> None:
    """At a weight of 0.2 until 10 ms, then 0.4; units settle within 20 ms, and it is 30 ms."""
    treated = np.array([True, False, False, True, False])
    units = AssignedAt(
        np.arange(5),
        np.array([1, 1, 1, 2, 2]),
        np.array([0, 0, 0, 10, 11]),
        np.array([0.1, 0.3, 0.5, 0.3, 0.9]),
        treated,
    )
    periods = [WeightPeriod(1, 0, 10, 0.2), WeightPeriod(2, 10, None, 0.4)]
    found = Settling.of(settle(units, periods, 20, 30), treated, 20)
    assert found == Settling(20, Arms(1, 2), settling=1, changed_sides=1)


def test_new_labels_are_those_that_only_treatment_knows() -> None:
    known = KnownLabels.of(("dog", "cat", "fox"), ("koala", "cat", "dog"))
    assert (known.shared, known.new) == (["cat", "dog"], ["koala"])
