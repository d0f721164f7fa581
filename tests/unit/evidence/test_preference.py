"""Two lines and what they make of a test."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serve_app.evidence.comparison import compare
from serve_app.evidence.confidence import Interval, interval
from serve_app.evidence.outcome import Assigned, FeedbackRows, Metric
from serve_app.evidence.preference import Line, Preference, judge, measure, prefer
from serve_app.evidence.srm import SrmCounts, check
from serve_app.evidence.units import Flags, Floats, UnitSums
from serve_app.evidence.verdict import Direction, Finding

NEW = ("koala",)
NO_SRM = check([])
NAN = math.nan


def units(n: int) -> Assigned:
    return Assigned(np.arange(2 * n), np.zeros(2 * n, np.int64), np.arange(2 * n) >= n)


def say(rows: list[tuple[int, str, str, float, float, float]]) -> FeedbackRows:
    """unit, answered, label, correct, complaint, rating"""
    unit, answered, label, correct, complaint, rating = zip(*rows, strict=True)
    return FeedbackRows(
        np.array(unit, np.int64),
        np.array(answered, np.str_),
        np.array(label, np.str_),
        np.array(correct, np.float64),
        np.array(complaint, np.float64),
        np.array(rating, np.float64),
        np.zeros(len(unit)),
    )


def complaints(
    first: int, count: int, answered: str, label: str
) -> list[tuple[int, str, str, float, float, float]]:
    return [(first + k, answered, label, NAN, 1, NAN) for k in range(count)]


def share(assigned: Assigned, y: Flags | Floats) -> Interval:
    n = len(assigned.unit)
    sums = UnitSums(
        assigned.unit, assigned.stratum, assigned.treated, np.ones(n), np.asarray(y, np.float64)
    )
    return interval(compare(sums))


# Of 1,000 units each: control has 60 complaints about koalas, 30 about others, 50 untold;
# treatment has 10 about koalas, 35 about others (5 of them a bare complaint about "koala"), 20
# untold.
ASSIGNED = units(1000)
WORDS = say(
    complaints(0, 60, "dog", "koala")
    + complaints(60, 30, "dog", "cat")
    + complaints(90, 50, "cat", "")
    + complaints(1000, 10, "dog", "koala")
    + complaints(1010, 30, "koala", "cat")
    + complaints(1040, 5, "koala", "")
    + complaints(1045, 20, "cat", "")
)


class TestLines:
    found = prefer(ASSIGNED, WORDS, "complaint", NEW)

    def line(self, name: str) -> Line:
        line = getattr(self.found, name)
        assert isinstance(line, Line)
        return line

    @pytest.mark.parametrize(
        ("name", "control", "treatment"),
        [
            ("overall", 0.140, 0.065),
            ("shared", 0.030, 0.035),
            ("new", 0.060, 0.010),
            ("untold", 0.050, 0.020),
        ],
    )
    def test_shares_of_assigned_units(self, name: str, control: float, treatment: float) -> None:
        told = self.line(name).told
        assert (told.control, told.treatment) == pytest.approx((control, treatment))
        assert told.units == 2000

    def test_the_high_end_has_the_untold_of_treatment_and_not_of_control(self) -> None:
        y = np.zeros(2000)
        y[60:90] = y[1010:1065] = 1
        assert self.line("shared").interval.high == pytest.approx(share(ASSIGNED, y).high)

    def test_the_low_end_has_the_untold_of_control_and_not_of_treatment(self) -> None:
        y = np.zeros(2000)
        y[60:140] = y[1010:1045] = 1
        assert self.line("shared").interval.low == pytest.approx(share(ASSIGNED, y).low)
        y = np.zeros(2000)
        y[0:60] = y[90:140] = y[1000:1010] = 1
        assert self.line("new").interval.low == pytest.approx(share(ASSIGNED, y).low)

    def test_what_needs_no_truth_has_a_plain_interval(self) -> None:
        overall = self.line("overall")
        assert overall.interval == interval(overall.told)

    def test_a_unit_that_complains_twice_is_one(self) -> None:
        twice = prefer(units(2), say(complaints(0, 1, "dog", "cat") * 3), "complaint", NEW)
        assert twice.overall.told.control == 0.5

    def test_coverage(self) -> None:
        coverage = self.found.responders.coverage
        assert (coverage.control, coverage.treatment) == pytest.approx((0.14, 0.065))

    def test_versions_of_the_same_labels_have_one_line(self) -> None:
        found = prefer(ASSIGNED, WORDS, "complaint", ())
        assert (found.shared, found.new, found.untold) == (None, None, None)
        assert found.overall.told.control == pytest.approx(0.14)


class TestResponders:
    """Of 100 units each, 25 of control rate 2 and 4, and 50 of treatment 3."""

    assigned = units(100)
    words = say(
        [(k, "cat", "", NAN, NAN, 2.0) for k in range(25)]
        + [(k, "cat", "", NAN, NAN, 4.0) for k in range(20)]
        + [(k, "cat", "", NAN, NAN, 3.0 + k % 2) for k in range(100, 150)]
    )
    found = prefer(assigned, words, "rating", NEW)

    def test_among_those_who_spoke(self) -> None:
        """A unit's mean is 3 if it spoke twice, else 2."""
        among = self.found.responders.among
        assert (among.units_control, among.units_treatment) == (25, 50)
        assert (among.control, among.treatment) == pytest.approx(((20 * 3 + 5 * 2) / 25, 3.5))

    def test_the_silent_may_think_anything(self) -> None:
        spoke = np.isin(self.assigned.unit, self.words.unit)
        mean = np.zeros(200)
        mean[:20], mean[20:25], mean[100:150] = 3, 2, 3 + np.arange(50) % 2
        worst = np.where(spoke, mean, np.where(self.assigned.treated, 1, 5))
        best = np.where(spoke, mean, np.where(self.assigned.treated, 5, 1))
        bounds = self.found.responders.interval
        assert bounds.low == pytest.approx(share(self.assigned, worst).low)
        assert bounds.high == pytest.approx(share(self.assigned, best).high)
        assert self.found.overall.interval == bounds

    def test_a_rating_has_no_lines_and_says_who_spoke(self) -> None:
        found = judge(self.found, measure("rating", "increase", 0.2), NO_SRM)
        assert (found.shared, found.new) == (None, None)
        assert found.verdict.finding is Finding.KEEP_GOING
        assert "It came from 50 % of the units in treatment and 25 % in control" in (
            found.verdict.sentence
        )

    def test_nobody_spoke(self) -> None:
        nothing = prefer(units(50), say(complaints(0, 1, "cat", "cat")).within(-1), "rating", NEW)
        found = judge(nothing, measure("rating", "increase", 0.2), NO_SRM)
        assert nothing.responders.coverage.control == 0
        assert found.verdict.finding is not Finding.BETTER


def test_a_right_answer_counts_by_unit_and_truth() -> None:
    said = say(
        [(0, "cat", "cat", NAN, NAN, NAN), (2, "koala", "", 1, NAN, NAN), (3, "cat", "", 0, 1, NAN)]
    )
    found = prefer(units(2), said, "correct", NEW)
    assert found.shared is not None
    assert found.new is not None
    assert (found.shared.told.control, found.shared.told.treatment) == (0.5, 0)
    assert (found.new.told.control, found.new.told.treatment) == (0, 0.5)
    assert found.responders.coverage.treatment == 1


def with_lines(shared: Interval, new: Interval) -> Preference:
    """A preference whose lines have these intervals."""
    base = prefer(ASSIGNED, WORDS, "complaint", NEW)
    assert base.shared is not None
    assert base.new is not None
    return Preference(
        base.metric,
        base.overall,
        Line(base.shared.told, shared),
        Line(base.new.told, new),
        base.untold,
        base.responders,
    )


UNKNOWN = Interval(-math.inf, math.inf)
BETTER, WORSE = Interval(-0.05, -0.02), Interval(0.02, 0.05)
SAME, OPEN = Interval(-0.005, 0.005), Interval(-0.05, 0.05)
NOT_WORSE = Interval(-0.05, 0.005)


class TestJudge:
    @pytest.mark.parametrize(
        ("shared", "new", "finding"),
        [
            (NOT_WORSE, BETTER, Finding.BETTER),
            (SAME, BETTER, Finding.BETTER),
            (BETTER, OPEN, Finding.BETTER),
            (BETTER, UNKNOWN, Finding.BETTER),
            (OPEN, BETTER, Finding.KEEP_GOING),  # koalas do not pay for cats
            (UNKNOWN, BETTER, Finding.KEEP_GOING),
            (WORSE, BETTER, Finding.WORSE),
            (BETTER, WORSE, Finding.WORSE),
            (SAME, SAME, Finding.NO_DIFFERENCE),
            (SAME, UNKNOWN, Finding.NO_DIFFERENCE),
            (SAME, OPEN, Finding.KEEP_GOING),
            (UNKNOWN, SAME, Finding.KEEP_GOING),
            (OPEN, OPEN, Finding.KEEP_GOING),
            (UNKNOWN, UNKNOWN, Finding.NOT_KNOWN),
        ],
    )
    def test_shared_labels_first(self, shared: Interval, new: Interval, finding: Finding) -> None:
        found = judge(with_lines(shared, new), measure("complaint", "decrease", 0.01), NO_SRM)
        assert found.verdict.finding is finding

    def test_both_lines_are_told(self) -> None:
        found = judge(with_lines(SAME, BETTER), measure("complaint", "decrease", 0.01), NO_SRM)
        assert found.shared is not None
        assert found.new is not None
        assert found.verdict.sentence == (
            f"Shared labels: {found.shared.sentence} New labels: {found.new.sentence}"
        )
        assert found.new.sentence == (
            "Treatment is better; units with a complaint, new labels: 1.0 % in treatment, 6.0 % in"
            " control, a difference of -5.00 points (-5.00 to -2.00)."
        )

    def test_a_mismatch_comes_first(self) -> None:
        srm = check([SrmCounts(1, 1200, 1000, 0.3)])
        found = judge(with_lines(SAME, BETTER), measure("complaint", "decrease", 0.01), srm)
        assert found.verdict.finding is Finding.INVALID
        assert found.shared is not None
        assert found.shared.finding is Finding.INVALID

    def test_one_line_alone(self) -> None:
        found = prefer(ASSIGNED, WORDS, "complaint", ())
        verdict = judge(found, measure("complaint", "decrease", 0.01), NO_SRM)
        assert verdict.verdict.finding in (Finding.BETTER, Finding.KEEP_GOING)
        assert verdict.verdict.sentence.count("units with a complaint") == 1

    @pytest.mark.parametrize(
        ("metric", "direction", "text"),
        [
            ("complaint", "decrease", "units with a complaint"),
            ("correct", "increase", "units that said an answer is right"),
            ("rating", "increase", "mean rating of those who rated"),
        ],
    )
    def test_measures(self, metric: Metric, direction: Direction, text: str) -> None:
        assert measure(metric, direction, 0.1).name == text
