"""The measures and the verdict of a canary."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from serve_app.clock import DAY_MS, HOUR_MS
from serve_app.evidence.canary import (
    CanaryUnits,
    decide_canary,
    failures_measure,
    latency_measure,
)
from serve_app.evidence.confidence import interval
from serve_app.evidence.latency import LatencyLimit
from serve_app.evidence.srm import SrmCounts, check
from serve_app.evidence.verdict import Finding, Verdict, decide

BETTER, WORSE, SAME = Finding.BETTER, Finding.WORSE, Finding.NO_DIFFERENCE
KEEP_GOING, NOT_KNOWN = Finding.KEEP_GOING, Finding.NOT_KNOWN
NO_SRM = check([])


@pytest.mark.parametrize(
    ("findings", "finding", "sentence"),
    [
        ([SAME, SAME, SAME], SAME, "a. Also no difference: b, c."),
        ([SAME, BETTER, BETTER], BETTER, "b. Also better: c."),
        ([NOT_KNOWN, BETTER, SAME], NOT_KNOWN, "a."),
        ([KEEP_GOING, NOT_KNOWN, KEEP_GOING], KEEP_GOING, "a. Also keep going: c."),
        ([KEEP_GOING, WORSE, BETTER], WORSE, "b."),
    ],
)
def test_the_worst_finding_decides_with_its_own_sentence(
    findings: list[Finding], finding: Finding, sentence: str
) -> None:
    verdicts = {
        name: Verdict(found, f"{name}.") for name, found in zip("abc", findings, strict=True)
    }
    verdict = decide_canary(verdicts, NO_SRM)
    assert (verdict.finding, verdict.sentence) == (finding, sentence)


def test_an_srm_invalidates_every_finding() -> None:
    srm = check([SrmCounts(1, 100, 0, 0.5)])
    verdict = decide_canary({"a": Verdict(WORSE, "a.")}, srm)
    assert verdict.finding is Finding.INVALID
    assert verdict.sentence.startswith("sample ratio mismatch: candidate has 0 of 100 units")


def canary_units(stable: int, candidate: int) -> CanaryUnits:
    """Units with two exposures each and no failure, first assigned in one hour."""
    treated = np.repeat([False, True], [stable, candidate])
    ones = np.ones(len(treated))
    return CanaryUnits(
        at_ms=np.full(len(treated), 5 * DAY_MS),
        weight=0.5 * ones,
        treated=treated,
        region=np.full(len(treated), "AU"),
        exposures=2 * ones,
        errors=0 * ones,
        latency_ms=20 * ones * (1 + treated),
        max_latency_ms=15 * ones,
        model_count=ones,
        model_ms=4 * ones,
        later_exposures=0 * ones,
        is_later_known=ones > 0,
    )


def test_a_unit_with_an_error_or_a_hung_answer_is_one_unit_with_a_failure() -> None:
    units = canary_units(10, 10)
    errors, max_latency_ms = np.zeros(20), np.full(20, 15.0)
    errors[[0, 1]] = [1, 50]
    max_latency_ms[[1, 15, 16]] = 900
    at_ms = units.at_ms.copy()
    at_ms[16] -= 1
    units = replace(units, errors=errors, max_latency_ms=max_latency_ms, at_ms=at_ms)
    limit = LatencyLimit(slow_ms=80, from_ms=5 * DAY_MS)
    found = units.compare_failures(limit)
    assert (found.control, found.treatment) == (0.2, 0.1)
    assert units.compare_failures(None).treatment == 0
    assert units.compare_failures(replace(limit, slow_ms=90)).treatment == 0


def test_latency_is_the_mean_over_units_of_their_means() -> None:
    units = canary_units(2, 2)
    units = replace(
        units,
        exposures=np.array([1.0, 100, 1, 1]),
        latency_ms=np.array([10.0, 3000, 50, 70]),
    )
    found = units.compare_latency()
    assert (found.control, found.treatment) == (20, 60)


def test_units_without_a_model_time_are_left_out() -> None:
    """The candidate never answered itself; what is known of stable stays known."""
    units = canary_units(600, 500)
    units = replace(units, model_count=units.model_count * ~units.treated)
    compared = units.compare_model_time()
    measure = latency_measure("model time", compared, 0.1)
    assert decide(measure, compared, interval(compared), NO_SRM).sentence == (
        "no settled unit of candidate has a value, so the difference is not known; mean model time:"
        " 4.0 ms in stable."
    )


def test_guardrails_are_exposures_and_returns() -> None:
    units = canary_units(4, 4)
    units = replace(
        units,
        exposures=np.array([1.0, 2, 3, 4, 2, 2, 2, 2]),
        later_exposures=np.array([0.0, 1, 2, 9, 1, 1, 0, 0]),
        is_later_known=np.arange(8) % 4 > 0,
    )
    exposures, returns = units.compare_exposures(), units.compare_returns()
    assert (exposures.control, exposures.treatment) == (2.5, 2)
    assert (returns.control, returns.treatment) == pytest.approx((1, 1 / 3))
    assert returns.units == 6


@pytest.mark.parametrize(("hours", "weight"), [(1, 0.5), (0, 0.1)])
def test_units_are_compared_within_hours_and_weights(hours: int, weight: float) -> None:
    """Both versions fail half of the units of one group, and none of the other; pooled, they would
    differ."""
    units, other = canary_units(90, 10), canary_units(50, 50)
    units = replace(units, errors=np.arange(100).astype(np.float64) % 2)
    other = replace(other, at_ms=other.at_ms + hours * HOUR_MS, weight=weight + 0 * other.weight)
    names = CanaryUnits.__dataclass_fields__
    both = CanaryUnits(
        *(np.concatenate([getattr(units, name), getattr(other, name)]) for name in names)
    )
    found = both.compare_failures(None)
    assert [found.control, found.treatment] == pytest.approx([0.25, 0.25])
    assert found.strata == 2


def test_the_tolerance_of_a_latency_is_relative_to_stable() -> None:
    compared = canary_units(2, 2).compare_latency()
    measure = latency_measure("latency", compared, 0.1)
    assert (measure.name, measure.tolerance, measure.unit) == ("mean latency", 1.0, "ms")
    without = latency_measure("latency", canary_units(0, 2).compare_latency(), 0.1)
    assert without.tolerance == pytest.approx(0.1)


def test_measures_share_the_probability_of_a_false_worse() -> None:
    """Each side of three intervals misses with a probability of at most alpha / 2."""
    assert failures_measure(0.01).alpha == pytest.approx(2 * 0.05 / 3)
