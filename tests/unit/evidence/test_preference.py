"""The comparison of an A/B test by groups of labels, and its verdict."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serve_app.evidence.comparison import compare
from serve_app.evidence.confidence import Interval, interval
from serve_app.evidence.outcome import AssignedUnits, FeedbackRows, Metric
from serve_app.evidence.preference import (
    BoundedComparison,
    Preference,
    compare_preference,
    decide_preference,
    preference_measure,
)
from serve_app.evidence.srm import SrmCounts, check
from serve_app.evidence.units import Flags, Floats, UnitSums
from serve_app.evidence.verdict import Direction, Finding

NEW = ("koala",)
NO_SRM = check([])
NAN = math.nan


def units(n: int) -> AssignedUnits:
    """n units in each arm, control first."""
    return AssignedUnits(np.arange(2 * n), np.zeros(2 * n, np.int64), np.arange(2 * n) >= n)


def feedback_rows(rows: list[tuple[int, str, str, float, float, float]]) -> FeedbackRows:
    """From rows of unit, predicted label, reported label, correct, complaint, rating."""
    unit, predicted_label, reported_label, correct, complaint, rating = zip(*rows, strict=True)
    return FeedbackRows(
        np.array(unit, np.int64),
        np.array(predicted_label, np.str_),
        np.array(reported_label, np.str_),
        np.array(correct, np.float64),
        np.array(complaint, np.float64),
        np.array(rating, np.float64),
        np.zeros(len(unit)),
    )


def complaints(
    first: int, count: int, predicted_label: str, reported_label: str
) -> list[tuple[int, str, str, float, float, float]]:
    return [(first + k, predicted_label, reported_label, NAN, 1, NAN) for k in range(count)]


def interval_of(assigned: AssignedUnits, y: Flags | Floats) -> Interval:
    """The interval of the difference of means of y."""
    n = len(assigned.unit)
    sums = UnitSums(
        assigned.unit, assigned.stratum, assigned.treated, np.ones(n), np.asarray(y, np.float64)
    )
    return interval(compare(sums))


# Complaints of 1,000 units each, by true label. Control: 60 koala, 30 shared, 50 unknown.
# Treatment: 10 koala, 35 shared (5 of them without a label, on the prediction "koala"), 20 unknown.
ASSIGNED = units(1000)
FEEDBACK = feedback_rows(
    complaints(0, 60, "dog", "koala")
    + complaints(60, 30, "dog", "cat")
    + complaints(90, 50, "cat", "")
    + complaints(1000, 10, "dog", "koala")
    + complaints(1010, 30, "koala", "cat")
    + complaints(1040, 5, "koala", "")
    + complaints(1045, 20, "cat", "")
)


class TestLabelGroups:
    found = compare_preference(ASSIGNED, FEEDBACK, "complaint", NEW)

    def group(self, name: str) -> BoundedComparison:
        group = getattr(self.found, name)
        assert isinstance(group, BoundedComparison)
        return group

    @pytest.mark.parametrize(
        ("name", "control", "treatment"),
        [
            ("overall", 0.140, 0.065),
            ("shared", 0.030, 0.035),
            ("new", 0.060, 0.010),
            ("unknown", 0.050, 0.020),
        ],
    )
    def test_shares_of_assigned_units(self, name: str, control: float, treatment: float) -> None:
        reported = self.group(name).reported
        assert (reported.control, reported.treatment) == pytest.approx((control, treatment))
        assert reported.units == 2000

    def test_high_end_counts_unknown_events_of_treatment_only(self) -> None:
        y = np.zeros(2000)
        y[60:90] = y[1010:1065] = 1
        assert self.group("shared").interval.high == pytest.approx(interval_of(ASSIGNED, y).high)

    def test_low_end_counts_unknown_events_of_control_only(self) -> None:
        y = np.zeros(2000)
        y[60:140] = y[1010:1045] = 1
        assert self.group("shared").interval.low == pytest.approx(interval_of(ASSIGNED, y).low)
        y = np.zeros(2000)
        y[0:60] = y[90:140] = y[1000:1010] = 1
        assert self.group("new").interval.low == pytest.approx(interval_of(ASSIGNED, y).low)

    def test_overall_interval_is_that_of_the_comparison(self) -> None:
        overall = self.group("overall")
        assert overall.interval == interval(overall.reported)

    def test_repeated_complaints_of_a_unit_count_once(self) -> None:
        found = compare_preference(
            units(2), feedback_rows(complaints(0, 1, "dog", "cat") * 3), "complaint", NEW
        )
        assert found.overall.reported.control == 0.5

    def test_coverage_is_the_share_of_units_with_feedback(self) -> None:
        coverage = self.found.responders.coverage
        assert (coverage.control, coverage.treatment) == pytest.approx((0.14, 0.065))

    def test_without_new_labels_there_are_no_groups(self) -> None:
        found = compare_preference(ASSIGNED, FEEDBACK, "complaint", ())
        assert (found.shared, found.new, found.unknown) == (None, None, None)
        assert found.overall.reported.control == pytest.approx(0.14)


class TestResponders:
    """100 units each. 25 of control rate 2, and 20 of these also 4; 50 of treatment rate 3 or 4."""

    assigned = units(100)
    feedback = feedback_rows(
        [(k, "cat", "", NAN, NAN, 2.0) for k in range(25)]
        + [(k, "cat", "", NAN, NAN, 4.0) for k in range(20)]
        + [(k, "cat", "", NAN, NAN, 3.0 + k % 2) for k in range(100, 150)]
    )
    found = compare_preference(assigned, feedback, "rating", NEW)

    def test_mean_is_over_the_means_of_responders(self) -> None:
        """The mean of a control unit is 3 with two ratings, else 2."""
        mean = self.found.responders.mean
        assert (mean.units_control, mean.units_treatment) == (25, 50)
        assert (mean.control, mean.treatment) == pytest.approx(((20 * 3 + 5 * 2) / 25, 3.5))

    def test_worst_case_interval_holds_for_any_rating_of_non_responders(self) -> None:
        responded = np.isin(self.assigned.unit, self.feedback.unit)
        mean = np.zeros(200)
        mean[:20], mean[20:25], mean[100:150] = 3, 2, 3 + np.arange(50) % 2
        worst = np.where(responded, mean, np.where(self.assigned.treated, 1, 5))
        best = np.where(responded, mean, np.where(self.assigned.treated, 5, 1))
        bounds = self.found.responders.worst_case_interval
        assert bounds.low == pytest.approx(interval_of(self.assigned, worst).low)
        assert bounds.high == pytest.approx(interval_of(self.assigned, best).high)
        assert self.found.overall.interval == bounds

    def test_verdict_on_ratings_has_the_coverage_and_no_groups(self) -> None:
        found = decide_preference(self.found, preference_measure("rating", "increase", 0.2), NO_SRM)
        assert (found.shared, found.new) == (None, None)
        assert found.verdict.finding is Finding.KEEP_GOING
        assert "50 % of the units in treatment and 25 % in control responded" in (
            found.verdict.sentence
        )

    def test_without_responders_treatment_is_not_better(self) -> None:
        nothing = compare_preference(
            units(50),
            feedback_rows(complaints(0, 1, "cat", "cat")).within_window(-1),
            "rating",
            NEW,
        )
        found = decide_preference(nothing, preference_measure("rating", "increase", 0.2), NO_SRM)
        assert nothing.responders.coverage.control == 0
        assert found.verdict.finding is not Finding.BETTER


def test_correct_predictions_count_by_unit_and_true_label() -> None:
    rows = feedback_rows(
        [(0, "cat", "cat", NAN, NAN, NAN), (2, "koala", "", 1, NAN, NAN), (3, "cat", "", 0, 1, NAN)]
    )
    found = compare_preference(units(2), rows, "correct", NEW)
    assert found.shared is not None
    assert found.new is not None
    assert (found.shared.reported.control, found.shared.reported.treatment) == (0.5, 0)
    assert (found.new.reported.control, found.new.reported.treatment) == (0, 0.5)
    assert found.responders.coverage.treatment == 1


def with_intervals(shared: Interval, new: Interval) -> Preference:
    """A preference with these intervals of its groups."""
    base = compare_preference(ASSIGNED, FEEDBACK, "complaint", NEW)
    assert base.shared is not None
    assert base.new is not None
    return Preference(
        base.metric,
        base.overall,
        BoundedComparison(base.shared.reported, shared),
        BoundedComparison(base.new.reported, new),
        base.unknown,
        base.responders,
    )


UNKNOWN = Interval(-math.inf, math.inf)
BETTER, WORSE = Interval(-0.05, -0.02), Interval(0.02, 0.05)
SAME, OPEN = Interval(-0.005, 0.005), Interval(-0.05, 0.05)
NOT_WORSE = Interval(-0.05, 0.005)


class TestDecidePreference:
    @pytest.mark.parametrize(
        ("shared", "new", "finding"),
        [
            (NOT_WORSE, BETTER, Finding.BETTER),
            (SAME, BETTER, Finding.BETTER),
            (BETTER, OPEN, Finding.BETTER),
            (BETTER, UNKNOWN, Finding.BETTER),
            (OPEN, BETTER, Finding.KEEP_GOING),  # new labels do not make up for shared ones
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
    def test_finding_of_two_groups(self, shared: Interval, new: Interval, finding: Finding) -> None:
        found = decide_preference(
            with_intervals(shared, new), preference_measure("complaint", "decrease", 0.01), NO_SRM
        )
        assert found.verdict.finding is finding

    def test_sentence_has_both_groups(self) -> None:
        found = decide_preference(
            with_intervals(SAME, BETTER), preference_measure("complaint", "decrease", 0.01), NO_SRM
        )
        assert found.shared is not None
        assert found.new is not None
        assert found.verdict.sentence == (
            f"Shared labels: {found.shared.sentence} New labels: {found.new.sentence}"
        )
        assert found.new.sentence == (
            "Treatment is better; units with a complaint, new labels: 1.0 % in treatment, 6.0 % in"
            " control, a difference of -5.00 points (-5.00 to -2.00)."
        )

    def test_srm_makes_every_verdict_invalid(self) -> None:
        srm = check([SrmCounts(1, 1200, 1000, 0.3)])
        found = decide_preference(
            with_intervals(SAME, BETTER), preference_measure("complaint", "decrease", 0.01), srm
        )
        assert found.verdict.finding is Finding.INVALID
        assert found.shared is not None
        assert found.shared.finding is Finding.INVALID

    def test_without_new_labels_all_events_decide(self) -> None:
        found = compare_preference(ASSIGNED, FEEDBACK, "complaint", ())
        verdict = decide_preference(
            found, preference_measure("complaint", "decrease", 0.01), NO_SRM
        )
        assert verdict.verdict.finding in (Finding.BETTER, Finding.KEEP_GOING)
        assert verdict.verdict.sentence.count("units with a complaint") == 1

    @pytest.mark.parametrize(
        ("metric", "direction", "text"),
        [
            ("complaint", "decrease", "units with a complaint"),
            ("correct", "increase", "units that confirmed a prediction"),
            ("rating", "increase", "mean rating of units that rated"),
        ],
    )
    def test_measure_names(self, metric: Metric, direction: Direction, text: str) -> None:
        assert preference_measure(metric, direction, 0.1).name == text
