"""The comparison of an A/B test by groups of labels, and its verdict."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from serve_app.evidence.comparison import Comparison
from serve_app.evidence.confidence import ALPHA, Interval, critical_value, interval
from serve_app.evidence.outcome import AssignedUnits, FeedbackRows, Metric
from serve_app.evidence.preference import (
    BoundedComparison,
    LabelGroups,
    Preference,
    compare_preference,
    preference_measure,
)
from serve_app.evidence.preference_verdict import (
    Collected,
    PreferenceVerdict,
    decide_preference,
    undecidable,
)
from serve_app.evidence.srm import Srm, SrmCounts, check
from serve_app.evidence.units import Flags, Floats
from serve_app.evidence.untold import MIN_TOLD, ODDS_FACTOR
from serve_app.evidence.verdict import Direction, Finding, Measure, Pace

NEW = ("koala",)
NO_SRM = check([])
NAN = math.nan
LINE_ALPHA = 2 * ALPHA / 3
COMPLAINT = preference_measure("complaint", "decrease", 0.01, LINE_ALPHA)


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


def interval_of(
    assigned: AssignedUnits,
    y: Flags | Floats,
    alpha: float = LINE_ALPHA,
    bounds: tuple[float, float] = (0, 1),
) -> Interval:
    """The interval of the difference of means of y."""
    return interval(assigned.groups.compare(np.asarray(y, np.float64), bounds), alpha)


def groups_of(found: Preference) -> LabelGroups:
    assert found.groups is not None
    return found.groups


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
FOUND = compare_preference(ASSIGNED, FEEDBACK, "complaint", NEW)


def collected(preference: Preference, **changes: object) -> Collected:
    """All units of a test, settled."""
    size = preference.overall.reported.units
    base = Collected(NO_SRM, NO_SRM, 2 * size, 40, size, 0, "")
    return replace(base, **changes)  # type: ignore[arg-type]


def verdict_of(
    preference: Preference,
    measure: Measure = COMPLAINT,
    pace: Pace | None = None,
    **changes: object,
) -> PreferenceVerdict:
    return decide_preference(preference, measure, collected(preference, **changes), pace)


class TestLabelGroups:
    groups = groups_of(FOUND)

    @pytest.mark.parametrize(
        ("name", "control", "treatment"),
        [("shared", 0.030, 0.035), ("new", 0.060, 0.010), ("unknown", 0.050, 0.020)],
    )
    def test_shares_of_settled_units(self, name: str, control: float, treatment: float) -> None:
        reported: Comparison = getattr(self.groups, name).reported
        assert (reported.control, reported.treatment) == pytest.approx((control, treatment))
        assert reported.units == 2000

    def test_overall_has_all_events_and_two_thirds_of_alpha(self) -> None:
        overall = FOUND.overall
        assert (overall.reported.control, overall.reported.treatment) == (0.140, 0.065)
        assert overall.interval == interval(overall.reported, LINE_ALPHA)
        assert overall.worst_case_interval == overall.interval
        assert FOUND.alpha == LINE_ALPHA

    def test_events_with_an_unknown_label_are_counted(self) -> None:
        assert (self.groups.events, self.groups.unknown_events) == (205, 70)

    def test_worst_case_counts_unknown_events_of_one_arm_only(self) -> None:
        y = np.zeros(2000)
        y[60:90] = y[1010:1065] = 1
        high = interval_of(ASSIGNED, y).high
        y = np.zeros(2000)
        y[60:140] = y[1010:1045] = 1
        low = interval_of(ASSIGNED, y).low
        found = self.groups.shared.worst_case_interval
        assert (found.low, found.high) == pytest.approx((low, high))
        y = np.zeros(2000)
        y[0:60] = y[90:140] = y[1000:1010] = 1
        found = self.groups.new.worst_case_interval
        assert found.low == pytest.approx(interval_of(ASSIGNED, y).low)

    def test_repeated_complaints_of_a_unit_count_once(self) -> None:
        rows = feedback_rows(complaints(0, 1, "dog", "cat") * 3)
        found = compare_preference(units(2), rows, "complaint", NEW)
        assert found.overall.reported.control == 0.5

    def test_coverage_is_the_share_of_units_with_feedback(self) -> None:
        coverage = FOUND.responders.coverage
        assert (coverage.control, coverage.treatment) == pytest.approx((0.14, 0.065))
        assert FOUND.responders.units == 205

    def test_without_new_labels_there_are_no_groups_and_alpha_is_not_split(self) -> None:
        found = compare_preference(ASSIGNED, FEEDBACK, "complaint", ())
        assert (found.groups, found.alpha) == (None, ALPHA)
        assert found.overall.reported.control == pytest.approx(0.14)


class TestSensitivity:
    """Complaints without a label, 400 of 1,000 units of an arm."""

    def rows(self, *told: tuple[int, int, int]) -> FeedbackRows:
        """From rows of the first unit, and how many tell a koala and a cat; then 400 tell none."""
        rows = []
        for first, koalas, cats in told:
            rows += complaints(first, koalas, "dog", "koala")
            rows += complaints(first + koalas, cats, "dog", "cat")
            rows += complaints(first + koalas + cats, 400, "dog", "")
        return feedback_rows(rows)

    def possible(self, rows: FeedbackRows) -> tuple[Interval, Interval]:
        groups = groups_of(compare_preference(ASSIGNED, rows, "complaint", NEW))
        return groups.shared.possible, groups.new.possible

    def test_odds_of_the_untold_are_within_a_factor_of_those_of_the_told(self) -> None:
        """Of control's 100 told complaints, 80 are about koalas; treatment has no complaint."""
        shared, new = self.possible(self.rows((0, 80, 20)))
        odds = (20 + 2) / (80 + 2)  # with two pseudo-units of each kind
        least, most = (odds * r / (1 + odds * r) for r in (1 / ODDS_FACTOR, ODDS_FACTOR))
        assert shared.low == pytest.approx(-(0.02 + 0.4 * most))
        assert shared.high == pytest.approx(-(0.02 + 0.4 * least))
        assert new.low == pytest.approx(-(0.08 + 0.4 * (1 - least)))
        assert new.high == pytest.approx(-(0.08 + 0.4 * (1 - most)))

    def test_with_few_told_labels_everything_is_possible(self) -> None:
        few = MIN_TOLD // 2 - 1
        shared, _ = self.possible(self.rows((0, few, few)))
        assert (shared.low, shared.high) == pytest.approx((-few / 1000 - 0.4, -few / 1000))

    def test_only_told_labels_on_the_same_kind_of_prediction_are_compared(self) -> None:
        """In treatment, complaints about the prediction koala are all about shared labels."""
        rows = self.rows((1000, 80, 20))
        hijacked = feedback_rows(complaints(1500, 300, "koala", "cat"))
        both = FeedbackRows(
            *(
                np.concatenate([getattr(rows, name), getattr(hijacked, name)])
                for name in FeedbackRows.__slots__
            )
        )
        (_, alone), (_, together) = self.possible(rows), self.possible(both)
        assert (together.low, together.high) == pytest.approx((alone.low, alone.high))

    def test_the_interval_is_wider_than_what_is_possible_and_narrower_than_the_worst_case(
        self,
    ) -> None:
        rows = self.rows((0, 80, 20), (1000, 30, 70))
        found = groups_of(compare_preference(ASSIGNED, rows, "complaint", NEW)).shared
        assert found.interval.low < found.possible.low < found.possible.high < found.interval.high
        assert found.worst_case_interval.low < found.interval.low
        assert found.interval.high < found.worst_case_interval.high

    def test_uncertain_told_labels_widen_the_interval(self) -> None:
        """The standard error of the high end, from 4,000 draws of its counts."""
        rows = self.rows((0, 60, 40), (1000, 40, 60))
        rng = np.random.default_rng(1)
        ends = np.zeros(4000)
        for cats, koalas, sign in ((40, 60, -1), (60, 40, 1)):
            counts = rng.multinomial(1000, np.array([cats, koalas, 400, 500]) / 1000, len(ends))
            odds = ODDS_FACTOR**sign * (counts[:, 0] + 2) / (counts[:, 1] + 2)
            ends += sign * (counts[:, 0] + counts[:, 2] * odds / (1 + odds)) / 1000
        found = groups_of(compare_preference(ASSIGNED, rows, "complaint", NEW)).shared
        half = found.interval.high - found.possible.high
        critical = critical_value(2000, LINE_ALPHA)
        print(f"sensitivity, seed 1: half-width {half:.4f}, drawn {critical * ends.std():.4f}")
        assert half == pytest.approx(critical * ends.std(), rel=0.04)


class TestResponders:
    """100 units each. 25 of control rate 2, and 20 of these also 4; 50 of treatment rate 3 or 4."""

    assigned = units(100)
    feedback = feedback_rows(
        [(k, "cat", "", NAN, NAN, 2.0) for k in range(25)]
        + [(k, "cat", "", NAN, NAN, 4.0) for k in range(20)]
        + [(k, "cat", "", NAN, NAN, 3.0 + k % 2) for k in range(100, 150)]
    )
    found = compare_preference(assigned, feedback, "rating", NEW)
    measure = preference_measure("rating", "increase", 0.2)

    def test_mean_is_over_the_means_of_responders(self) -> None:
        """The mean of a control unit is 3 with two ratings, else 2."""
        mean = self.found.responders.mean
        assert (mean.units_control, mean.units_treatment) == (25, 50)
        assert (mean.control, mean.treatment) == pytest.approx(((20 * 3 + 5 * 2) / 25, 3.5))

    def test_worst_case_interval_holds_for_any_rating_of_the_silent(self) -> None:
        responded = np.isin(self.assigned.unit, self.feedback.unit)
        mean = np.zeros(200)
        mean[:20], mean[20:25], mean[100:150] = 3, 2, 3 + np.arange(50) % 2
        worst = np.where(responded, mean, np.where(self.assigned.treated, 1, 5))
        best = np.where(responded, mean, np.where(self.assigned.treated, 5, 1))
        bounds = self.found.overall.interval
        assert bounds.low == pytest.approx(interval_of(self.assigned, worst, ALPHA, (1, 5)).low)
        assert bounds.high == pytest.approx(interval_of(self.assigned, best, ALPHA, (1, 5)).high)
        assert bounds.low >= -4
        assert bounds.high <= 4

    def test_no_number_of_units_decides_with_silent_units(self) -> None:
        found = verdict_of(self.found, self.measure)
        assert (found.shared, found.new, found.units_to_decide) == (None, None, None)
        assert found.verdict.finding is Finding.KEEP_GOING
        reason = (
            "75 % of the units in control and 50 % in treatment did not rate, and their ratings may"
            " be anything"
        )
        assert undecidable(self.found, self.measure) == reason
        assert f"no number of units decides it: {reason}." in found.verdict.sentence

    def test_ratings_of_all_units_can_decide(self) -> None:
        rows = [(k, "cat", "", NAN, NAN, 3.0 + (k >= 100)) for k in range(200)]
        found = compare_preference(self.assigned, feedback_rows(rows), "rating", NEW)
        assert undecidable(found, self.measure) is None
        assert verdict_of(found, self.measure).verdict.finding is Finding.BETTER


def test_correct_predictions_count_by_unit_and_true_label() -> None:
    rows = feedback_rows(
        [(0, "cat", "cat", NAN, NAN, NAN), (2, "koala", "", 1, NAN, NAN), (3, "cat", "", 0, 1, NAN)]
    )
    found = compare_preference(units(2), rows, "correct", NEW)
    groups = groups_of(found)
    assert (groups.shared.reported.control, groups.shared.reported.treatment) == (0.5, 0)
    assert (groups.new.reported.control, groups.new.reported.treatment) == (0, 0.5)
    assert found.responders.coverage.treatment == 1


UNKNOWN = Interval(-math.inf, math.inf)
BETTER, WORSE = Interval(-0.05, -0.02), Interval(0.02, 0.05)
SAME, OPEN = Interval(-0.005, 0.005), Interval(-0.05, 0.05)
NOT_WORSE = Interval(-0.05, 0.005)


def bounded(found: Interval, possible: Interval | None = None) -> BoundedComparison:
    middle = 0.0 if found is UNKNOWN else (found.low + found.high) / 2
    possible = possible or Interval(middle, middle)
    return BoundedComparison(FOUND.overall.reported, found, possible, found)


def with_intervals(
    overall: Interval,
    shared: Interval,
    new: Interval,
    possible: tuple[Interval | None, Interval | None] = (None, None),
) -> Preference:
    """A preference with these intervals."""
    groups = replace(
        groups_of(FOUND), shared=bounded(shared, possible[0]), new=bounded(new, possible[1])
    )
    return replace(FOUND, overall=bounded(overall), groups=groups)


class TestDecideByGroups:
    @pytest.mark.parametrize(
        ("shared", "new", "finding"),
        [
            (NOT_WORSE, BETTER, Finding.BETTER),
            (SAME, BETTER, Finding.BETTER),
            (BETTER, OPEN, Finding.BETTER),
            (OPEN, BETTER, Finding.KEEP_GOING),  # new labels do not make up for shared ones
            (WORSE, BETTER, Finding.WORSE),
            (BETTER, WORSE, Finding.WORSE),
            (SAME, SAME, Finding.NO_DIFFERENCE),
            (SAME, OPEN, Finding.KEEP_GOING),
            (OPEN, SAME, Finding.KEEP_GOING),
            (OPEN, OPEN, Finding.KEEP_GOING),
        ],
    )
    @pytest.mark.parametrize("overall", [OPEN, BETTER, SAME])
    def test_finding_of_two_groups(
        self, overall: Interval, shared: Interval, new: Interval, finding: Finding
    ) -> None:
        found = verdict_of(with_intervals(overall, shared, new))
        assert found.verdict.finding is finding

    def test_worse_on_all_events_is_worse(self) -> None:
        found = verdict_of(with_intervals(WORSE, OPEN, OPEN)).verdict
        assert (found.finding, found.sentence) == (
            Finding.WORSE,
            "treatment is worse on all labels together.",
        )

    def test_not_known_without_units_of_both_arms(self) -> None:
        found = verdict_of(with_intervals(UNKNOWN, UNKNOWN, UNKNOWN))
        assert found.verdict.finding is Finding.NOT_KNOWN

    def test_each_sentence_says_one_thing(self) -> None:
        found = verdict_of(with_intervals(BETTER, SAME, BETTER))
        assert found.shared is not None
        assert found.new is not None
        assert [found.verdict.sentence, found.shared.sentence, found.new.sentence] == [
            (
                "treatment is better on new labels, and not worse on shared labels by 1.00 points"
                " or more."
            ),
            "shared labels: no difference beyond ±1.00 points.",
            "new labels: treatment is better.",
        ]

    def test_keep_going_says_how_many_more_units_and_how_long(self) -> None:
        found = verdict_of(with_intervals(OPEN, OPEN, BETTER), pace=Pace(1000))
        assert found.units_to_decide is not None
        assert found.units_to_decide > 2000
        assert found.verdict.sentence.startswith("not decided on shared labels; about ")
        assert " more settled units decide it" in found.verdict.sentence
        assert found.verdict.sentence.endswith(" at 1,000 a day.")

    def test_the_units_that_decide_are_about_right(self) -> None:
        """With as many units more and the same shares, the test is decided; with 20 % less not."""
        found = verdict_of(compare_preference(*self.repeated(10), "complaint", NEW))
        assert found.verdict.finding is Finding.KEEP_GOING
        assert found.units_to_decide is not None
        times = found.units_to_decide / 200
        enough = verdict_of(compare_preference(*self.repeated(round(times)), "complaint", NEW))
        too_few = verdict_of(compare_preference(*self.repeated(int(0.8 * times)), "complaint", NEW))
        assert enough.verdict.finding is Finding.BETTER
        assert too_few.verdict.finding is Finding.KEEP_GOING

    def repeated(self, times: int) -> tuple[AssignedUnits, FeedbackRows]:
        """100 units each, times over; 8 and 2 complain about koalas, 5 and 5 about cats."""
        rows = []
        for k in range(times):
            control, treatment = 100 * k, 100 * (times + k)
            rows += complaints(control, 8, "dog", "koala") + complaints(
                control + 8, 5, "dog", "cat"
            )
            rows += complaints(treatment, 2, "dog", "koala")
            rows += complaints(treatment + 2, 5, "dog", "cat")
        return units(100 * times), feedback_rows(rows)

    def test_a_new_label_that_nobody_reported_is_named(self) -> None:
        rows = feedback_rows(complaints(0, 30, "dog", "cat") + complaints(1000, 30, "cat", "dog"))
        found = verdict_of(compare_preference(ASSIGNED, rows, "complaint", NEW))
        assert found.new is not None
        assert found.new.sentence == "new labels: no koala was reported."

    def test_an_srm_makes_every_verdict_invalid(self) -> None:
        srm = check([SrmCounts(1, 1200, 1000, 0.3)])
        found = verdict_of(with_intervals(BETTER, SAME, BETTER), srm=srm)
        assert found.verdict.finding is Finding.INVALID
        assert found.shared is not None
        assert found.shared.finding is Finding.INVALID


WIDE = Interval(-0.4, 0.3)  # what is possible if no user tells a label


class TestUntoldLabels:
    """No number of units decides by label, because most labels are not told."""

    @pytest.mark.parametrize(
        ("overall", "finding"),
        [
            (BETTER, Finding.BETTER),
            (WORSE, Finding.WORSE),
            (SAME, Finding.NO_DIFFERENCE),
            (OPEN, Finding.KEEP_GOING),
        ],
    )
    def test_all_events_decide(self, overall: Interval, finding: Finding) -> None:
        undecided = Interval(-0.45, 0.35)
        found = verdict_of(with_intervals(overall, undecided, undecided, (WIDE, WIDE)))
        assert found.verdict.finding is finding

    def test_sentences_say_what_is_missing(self) -> None:
        undecided = Interval(-0.45, 0.35)
        found = verdict_of(with_intervals(BETTER, undecided, undecided, (WIDE, WIDE)))
        assert found.shared is not None
        assert found.verdict.sentence == (
            "treatment is better on all labels together; shared labels alone are not decided."
        )
        assert found.shared.sentence == (
            "shared labels: not decided with any number of units: 70 of 205 complaints came without"
            " a label."
        )

    def test_harm_that_enough_units_show_is_waited_for(self) -> None:
        possible = Interval(0.005, 0.02)
        found = verdict_of(with_intervals(BETTER, Interval(-0.01, 0.04), OPEN, (possible, WIDE)))
        assert found.verdict.finding is Finding.KEEP_GOING

    def test_better_waits_for_shared_labels_that_can_be_shown_not_to_be_worse(self) -> None:
        possible = Interval(-0.05, 0.005)
        lines = (BETTER, Interval(-0.08, 0.03), Interval(-0.45, 0.35))
        found = verdict_of(with_intervals(*lines, (possible, WIDE)), pace=Pace(1000))
        assert found.verdict.finding is Finding.KEEP_GOING
        assert found.units_to_decide is not None
        not_worse = (BETTER, Interval(-0.06, 0.009), Interval(-0.45, 0.35))
        found = verdict_of(with_intervals(*not_worse, (possible, WIDE)))
        assert found.verdict.finding is Finding.BETTER

    def test_worse_on_shared_labels_is_worse(self) -> None:
        found = verdict_of(with_intervals(BETTER, WORSE, OPEN, (None, WIDE)))
        assert found.verdict.sentence == "treatment is worse on shared labels."


class TestSilence:
    def test_without_feedback_nothing_is_known(self) -> None:
        nothing = FEEDBACK.within_window(-1)
        found = verdict_of(
            compare_preference(ASSIGNED, nothing, "complaint", NEW),
            answers=5000,
            answers_with_metric=0,
        )
        assert (found.verdict.finding, found.verdict.sentence) == (
            Finding.NOT_KNOWN,
            (
                "feedback on 0 of 5,000 answers, from 0 of 2,000 settled units: at least 10 are"
                " needed."
            ),
        )
        assert found.shared is not None
        assert found.shared.finding is Finding.NOT_KNOWN

    def test_feedback_without_the_metric_says_nothing(self) -> None:
        rows = feedback_rows([(k, "cat", "", 1.0, NAN, NAN) for k in range(2000)])
        for metric in ("complaint", "rating"):
            found = verdict_of(compare_preference(ASSIGNED, rows, metric, NEW))
            assert found.verdict.finding is Finding.NOT_KNOWN
        assert (
            verdict_of(compare_preference(ASSIGNED, rows, "correct", NEW)).verdict.finding
            is not Finding.NOT_KNOWN
        )

    def test_ten_units_with_feedback_are_enough(self) -> None:
        for count, is_known in ((9, False), (10, True)):
            rows = feedback_rows(complaints(0, count, "dog", "cat"))
            found = verdict_of(compare_preference(ASSIGNED, rows, "complaint", NEW))
            assert (found.verdict.finding is not Finding.NOT_KNOWN) == is_known

    def test_before_windows_are_over_nothing_is_known(self) -> None:
        nobody = compare_preference(units(0), FEEDBACK.within_window(-1), "complaint", NEW)
        found = verdict_of(nobody, settling=2000, settles="the first counts from noon")
        assert (found.verdict.finding, found.verdict.sentence) == (
            Finding.NOT_KNOWN,
            "none of 2,000 units is settled yet: the first counts from noon.",
        )
        assert verdict_of(nobody).verdict.sentence == "there are no units to compare."


MORE_THANKS = check([SrmCounts(1, 600, 200, 0.5)])


@pytest.mark.parametrize(
    ("metric", "feedback_srm", "is_held"),
    [("correct", MORE_THANKS, True), ("correct", NO_SRM, False), ("complaint", MORE_THANKS, False)],
)
def test_only_confirmations_need_equal_response(
    metric: Metric, feedback_srm: Srm, is_held: bool
) -> None:
    rows = [(k, "cat", "", 1.0, 1.0, NAN) for k in (*range(600), *range(1000, 1200))]
    found = compare_preference(ASSIGNED, feedback_rows(rows), metric, ())
    measure = preference_measure(metric, "increase", 0.01)
    verdict = verdict_of(found, measure, feedback_srm=feedback_srm).verdict
    assert verdict.finding is (Finding.KEEP_GOING if is_held else Finding.WORSE)
    assert ("200 of 800 units with feedback are in treatment" in verdict.sentence) == is_held


@pytest.mark.parametrize(
    ("metric", "direction", "text"),
    [
        ("complaint", "decrease", "units with a complaint"),
        ("correct", "increase", "units that confirmed a prediction"),
        ("rating", "increase", "mean rating of units that rated"),
    ],
)
def test_measure_names(metric: Metric, direction: Direction, text: str) -> None:
    assert preference_measure(metric, direction, 0.1).name == text
