"""The findings and sentences of verdicts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evidence.comparison import Comparison, UnitGroups
from serve_app.evidence.confidence import Interval, interval
from serve_app.evidence.srm import SrmCounts, check
from serve_app.evidence.verdict import (
    VERSIONS,
    Finding,
    Measure,
    Pace,
    Verdict,
    decide,
    format_number,
)

COMPLAINTS = Measure("units with a complaint", "decrease", 0.01)
CORRECT = Measure("units with a right answer", "increase", 0.01)
FAILURES = Measure("units with a failure", "decrease", 0.01, arms=VERSIONS)
LATENCY = Measure("mean latency", "decrease", 5, unit="ms", arms=VERSIONS)
NO_SRM = check([])
SRM = check([SrmCounts(1, 5800, 5000, 0.5)])
UNKNOWN = Interval(-math.inf, math.inf)


def comparison(control: float = 0.044, treatment: float = 0.031) -> Comparison:
    return Comparison(control, treatment, 1e-6, 1e-6, 500, 500, 1, 0, 0)


def verdict(low: float, high: float, measure: Measure = COMPLAINTS) -> Verdict:
    return decide(measure, comparison(), Interval(low, high), NO_SRM)


def decide_failures(
    stable: tuple[int, int], candidate: tuple[int, int], pace: Pace | None = None
) -> Verdict:
    """Units with a failure, and all units, of both arms."""
    counts = [stable[0], stable[1] - stable[0], candidate[0], candidate[1] - candidate[0]]
    groups = UnitGroups(
        np.zeros(4, np.int64), np.array([0, 0, 1, 1], bool), np.array(counts, np.float64)
    )
    compared = groups.compare(np.array([1, 0, 1, 0], bool), (0, 1))
    return decide(FAILURES, compared, interval(compared), NO_SRM, pace)


@pytest.mark.parametrize(
    ("low", "high", "finding", "is_not_worse"),
    [
        (-0.021, -0.005, Finding.BETTER, True),
        (0.005, 0.021, Finding.WORSE, False),
        (-0.009, 0.009, Finding.NO_DIFFERENCE, True),
        (-0.009, -0.001, Finding.NO_DIFFERENCE, True),  # certain and within the tolerance
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
    found = decide(FAILURES, comparison(), Interval(-0.021, -0.005), SRM)
    assert found.finding is Finding.INVALID
    assert not found.is_not_worse
    assert found.sentence == (
        "sample ratio mismatch: candidate has 5,000 of 10,800 units, 5,400 were expected"
        " (p = 5e-12). Find the cause before you read the comparison."
    )


class TestSentence:
    """A sentence says what decides, and gives its figures."""

    @pytest.mark.parametrize(
        ("low", "high", "start"),
        [
            (-0.021, -0.005, "treatment is better: units with a complaint: 3.1 % in treatment,"),
            (0.001, 0.03, "treatment is worse: units with a complaint: 3.1 % in treatment,"),
            (-0.009, 0.004, "treatment and control differ by less than 1.00 points: units with"),
            (-0.03, 0.03, "not decided yet: units with a complaint: 3.1 % in treatment,"),
            (-0.03, 0.004, "treatment is not worse by 1.00 points or more, and may be better: "),
        ],
    )
    def test_it_begins_with_what_is_known(self, low: float, high: float, start: str) -> None:
        assert verdict(low, high).sentence.startswith(start)

    def test_it_has_more_digits_for_small_shares(self) -> None:
        assert decide_failures((1, 2400), (30, 250)).sentence == (
            "candidate is worse: units with a failure: 12.0 % in candidate, 0.042 % in stable, a"
            " difference of +11.96 points (+5.38 to +18.54)."
        )

    def test_it_has_the_unit_of_the_measure(self) -> None:
        found = decide(LATENCY, comparison(40.0, 52.25), Interval(8, 16.5), NO_SRM)
        assert found.sentence == (
            "candidate is worse: mean latency: 52.2 ms in candidate, 40.0 ms in stable, a"
            " difference of +12.25 ms (+8.00 to +16.50)."
        )

    def test_a_difference_of_shares_is_at_most_100_points(self) -> None:
        found = decide_failures((0, 2), (2, 2))
        assert "a difference of +100.00 points (-100.00 to +100.00)" in found.sentence


class TestOutlook:
    """Every "keep going" says how many more units decide, and how long that takes."""

    @pytest.mark.parametrize(
        ("units_per_day", "end"),
        [
            (400, "; about 12,600 more settled units decide it at the present figures, about 32"),
            (50_000, ", about 6 hours at 50,000 a day."),
            (12_600, ", about 1 day at 12,600 a day."),
            (900_000.2, ", about 20 minutes at 900,000 a day."),
            (1e9, ", about 1 second at 1,000,000,000 a day."),
            (None, "; about 12,600 more settled units decide it at the present figures."),
        ],
    )
    def test_it_depends_on_the_pace(self, units_per_day: float | None, end: str) -> None:
        found = decide_failures((3, 3000), (0, 158), Pace(units_per_day))
        assert found.finding is Finding.KEEP_GOING
        assert end in found.sentence

    def test_an_ended_experiment_gets_no_more_units(self) -> None:
        assert decide_failures((3, 3000), (0, 158)).sentence.endswith(
            "; the experiment has ended, and its units do not decide."
        )

    def test_it_says_why_no_number_of_units_decides(self) -> None:
        compared, wide = comparison(), Interval(-0.4, 0.4)
        found = decide(
            COMPLAINTS, compared, wide, NO_SRM, Pace(9), undecidable="40 % told no label"
        )
        assert found.sentence.endswith("; no number of units decides it: 40 % told no label.")
        found = decide(COMPLAINTS, compared, wide, NO_SRM, Pace(9), possible=Interval(-0.2, 0.2))
        assert found.sentence.endswith("; no number of units decides it at the present figures.")


class TestNotKnown:
    """The sentence says what is missing, and the values that are known."""

    @pytest.mark.parametrize(
        ("rows", "start"),
        [
            ([], "no settled unit of candidate or stable has a value, so the difference is not"),
            ([(0, 0, 4.0)] * 600, "no settled unit of candidate has a value, so the difference is"),
            ([(0, 0, 4.0)] * 500 + [(0, 1, 9.0)], "only one settled unit of candidate has a value"),
            ([(0, 0, 4.0), (0, 1, 9.0)], "only one settled unit of candidate and one of stable"),
            ([(0, 0, 4.0), (1, 1, 9.0)], "no period has units of both stable and candidate, so"),
            ([(0, 0, 4.0), (0, 1, 4.0)] * 2, "all 4 units have the same value, so the difference"),
        ],
    )
    def test_sentence(self, rows: list[tuple[int, int, float]], start: str) -> None:
        """A row is the stratum, the arm and the latency of a unit."""
        stratum, treated, y = np.array(rows, np.float64).reshape(-1, 3).T
        groups = UnitGroups(stratum.astype(np.int64), treated.astype(np.bool_), np.ones(len(y)))
        compared = groups.compare(y)
        found = decide(LATENCY, compared, interval(compared), NO_SRM)
        assert found.finding is Finding.NOT_KNOWN
        assert found.sentence.startswith(start)
        assert "nan" not in found.sentence
        known = "; mean latency: 9.0 ms in candidate, 4.0 ms in stable."
        assert found.sentence.endswith(known) == (9.0 in y)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (1e-9, "0.0"),
        (0.04, "0.04"),
        (0.0442, "0.044"),
        (0.5, "0.5"),
        (0.96, "1.0"),
        (12.06, "12.1"),
        (99.0, "99.0"),
        (99.96, "99.96"),
        (100.0, "100.0"),
    ],
)
def test_a_percentage_near_0_or_100_has_two_significant_digits(value: float, text: str) -> None:
    assert format_number(value, 1, largest=100) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "+0.00"),
        (-0.0, "+0.00"),
        (1.5, "+1.50"),
        (-0.0031, "-0.0031"),
        (12345.678, "+12,345.68"),
    ],
)
def test_a_difference_has_a_sign(value: float, text: str) -> None:
    assert format_number(value, 2, sign="+") == text


def test_fixed_horizon_interval_is_rejected() -> None:
    with pytest.raises(ValueError, match="fixed horizon"):
        decide(COMPLAINTS, comparison(), Interval(-1, 1, always_valid=False), NO_SRM)


def test_a_tolerance_of_zero_is_rejected() -> None:
    with pytest.raises(ValueError, match="tolerance is 0"):
        Measure("x", "decrease", 0)
