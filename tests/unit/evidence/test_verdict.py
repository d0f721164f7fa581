"""The findings and sentences of verdicts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evidence.comparison import Comparison
from serve_app.evidence.confidence import Interval
from serve_app.evidence.srm import SrmCounts, check
from serve_app.evidence.verdict import Finding, Measure, Verdict, decide

COMPLAINTS = Measure("units with a complaint", "decrease", 0.01)
CORRECT = Measure("units with a right answer", "increase", 0.01)
NO_SRM = check([])
SRM = check([SrmCounts(1, 5800, 5000, 0.5)])


def comparison(control: float = 0.044, treatment: float = 0.031, units: int = 1000) -> Comparison:
    return Comparison(control, treatment, 1e-6, 1e-6, units, units // 2, units // 2, 1, 0, 0.0)


def verdict(low: float, high: float, measure: Measure = COMPLAINTS) -> Verdict:
    return decide(measure, comparison(), Interval(low, high), NO_SRM)


@pytest.mark.parametrize(
    ("low", "high", "finding", "is_not_worse"),
    [
        (-0.021, -0.005, Finding.BETTER, True),
        (0.005, 0.021, Finding.WORSE, False),
        (-0.009, 0.009, Finding.NO_DIFFERENCE, True),
        (-0.009, -0.001, Finding.NO_DIFFERENCE, True),  # certain and below min_effect
        (0.001, 0.009, Finding.NO_DIFFERENCE, True),
        (-0.03, 0.009, Finding.KEEP_GOING, True),
        (-0.03, 0.03, Finding.KEEP_GOING, False),
        (-0.03, math.inf, Finding.KEEP_GOING, False),
        (-math.inf, math.inf, Finding.NOT_KNOWN, False),
    ],
)
def test_finding_of_an_interval(
    low: float, high: float, finding: Finding, is_not_worse: bool
) -> None:
    found = verdict(low, high)
    assert (found.finding, found.is_not_worse) == (finding, is_not_worse)


@given(st.floats(-0.1, 0.1), st.floats(0.001, 0.1))
def test_opposite_directions_mirror_the_finding(middle: float, half: float) -> None:
    one = verdict(middle - half, middle + half)
    other = verdict(-middle - half, -middle + half, CORRECT)
    assert (one.finding, one.is_not_worse) == (other.finding, other.is_not_worse)


def test_srm_makes_the_verdict_invalid() -> None:
    found = decide(COMPLAINTS, comparison(), Interval(-0.021, -0.005), SRM)
    assert found.finding is Finding.INVALID
    assert not found.is_not_worse
    assert found.sentence == (
        "Invalid, sample ratio mismatch: treatment has 5,000 of 10,800 units, 5,400 were expected"
        " (p = 5e-12). Find the cause before you read the comparison."
    )


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        (
            -0.021,
            -0.005,
            "Treatment is better; units with a complaint: 3.1 % in treatment, 4.4 % in control, a",
        ),
        (-0.009, 0.004, "No difference beyond ±1.00 points; units with a complaint: 3.1 %"),
        (-0.03, 0.03, "Keep going: not decided yet; units with"),
        (-0.03, 0.004, "Keep going: treatment is not worse by 1.00 points or more; units with"),
        (0.001, 0.03, "Treatment is worse; units with a complaint"),
    ],
)
def test_start_of_the_sentence(low: float, high: float, sentence: str) -> None:
    assert verdict(low, high).sentence.startswith(sentence)


def test_sentence_ends_with_the_values() -> None:
    assert verdict(-0.021, -0.005).sentence.endswith(
        "4.4 % in control, a difference of -1.30 points (-2.10 to -0.50)."
    )


def test_sentence_of_a_measure_with_a_unit() -> None:
    latency = Measure("mean latency", "decrease", 5, unit="ms")
    found = decide(latency, comparison(40.0, 52.25), Interval(8, 16.5), NO_SRM)
    assert found.sentence == (
        "Treatment is worse; mean latency: 52.25 ms in treatment, 40 ms in control, a difference of"
        " +12.25 ms (+8 to +16.5)."
    )


def test_sentence_of_a_difference_that_is_not_known() -> None:
    unbounded = Interval(-math.inf, math.inf)
    none = decide(COMPLAINTS, comparison(units=0), unbounded, NO_SRM)
    assert none.sentence == (
        "Not known: no period has units in both arms to compare (units with a complaint)."
    )
    equal = decide(COMPLAINTS, comparison(0, 0), unbounded, NO_SRM)
    assert equal.sentence.startswith(
        "Not known: no variance can be estimated from 1,000 units; units with a complaint: 0.0 %"
    )


def test_fixed_horizon_interval_is_rejected() -> None:
    with pytest.raises(ValueError, match="fixed horizon"):
        decide(COMPLAINTS, comparison(), Interval(-1, 1, always_valid=False), NO_SRM)


def test_a_min_effect_of_zero_is_rejected() -> None:
    with pytest.raises(ValueError, match="min_effect is 0"):
        Measure("x", "decrease", 0)
