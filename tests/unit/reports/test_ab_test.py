from __future__ import annotations

from typing import Any

import pytest

from serve_app.reports import ab_test
from serve_app.reports.period import Period
from tests.unit.reports.conftest import DAY, TEST, Diary, as_json, hours, labels


def report(diary: Diary, period: Period = DAY, name: str | None = None) -> dict[str, Any]:
    return as_json(ab_test.report(diary.store(), period, labels, name))


def complain(diary: Diary, assigned: str, users: range, share: float, minute: int = 1) -> None:
    """Each user gets an answer; the first ones complain, and say that it was a dog."""
    for number, user in enumerate(users):
        answer = diary.answers(assigned, user, minute)
        if number < share * len(users):
            diary.hears(answer, complaint=True, label="dog")


class TestUsers:
    def test_shares_of_assigned_units(self, diary: Diary) -> None:
        diary.obeys(TEST)
        complain(diary, "v1", range(20), 0.4)
        complain(diary, "v2", range(100, 120), 0.1)
        found = report(diary)
        overall = found["overall"]
        assert (overall["control"], overall["treatment"]) == (0.4, 0.1)
        assert overall["difference"] == pytest.approx(-0.3)
        assert overall["units"] == {"control": 20, "treatment": 20}
        assert found["feedback"] == {"words": 10, "too_late": 0, "of_others": 0}
        assert found["responders"]["coverage"] == {"control": 0.4, "treatment": 0.1}
        assert (found["control"], found["treatment"], found["unit"]) == ("v1", "v2", "user")
        assert found["outcome"]["metric"] == "complaint"

    def test_who_complains_twice_is_one_and_the_last_word_counts(self, diary: Diary) -> None:
        diary.obeys(TEST)
        for user in (1, 2, 3, 4):
            first, second = (diary.answers("v1", user, minute) for minute in (1, 2))
            if user == 1:
                diary.hears(first, complaint=True)
                diary.hears(second, complaint=True)
            if user == 2:
                diary.hears(first, complaint=True)
                diary.hears(first, after_s=90, complaint=False)
        complain(diary, "v2", range(10, 14), 0)
        found = report(diary)
        assert found["overall"]["control"] == 0.25
        assert found["feedback"]["words"] == 3

    def test_what_comes_after_the_window_is_late(self, diary: Diary) -> None:
        diary.obeys(TEST, outcome={"window": "1h"})
        complain(diary, "v2", range(10, 14), 0)
        for user, after_s in ((1, 3600), (2, 3601), (3, 90_000), (4, 0)):
            diary.hears(diary.answers("v1", user), after_s, complaint=True)
        changed = diary.answers("v1", 4)
        diary.hears(changed, 10, complaint=True)
        diary.hears(changed, 4000, complaint=False)
        found = report(diary)
        assert found["overall"]["control"] == 0.5
        assert found["feedback"] == {"words": 5, "too_late": 2, "of_others": 0}

    def test_only_the_split_is_compared(self, diary: Diary) -> None:
        diary.obeys(TEST, allow_pin=True)
        complain(diary, "v1", range(4), 0)
        complain(diary, "v2", range(10, 14), 0.5)
        for user, assigned, reason in (
            (1, "v2", "pinned"),
            (None, "v1", "no_unit"),
            (21, "v1", "not_ready"),
            (22, "v1", "not_targeted"),
        ):
            answer = diary.answers(assigned, user, reason=reason)
            diary.hears(answer, complaint=True, label="dog")
        found = report(diary)
        assert (found["overall"]["control"], found["overall"]["treatment"]) == (0, 0.5)
        assert found["overall"]["units"] == {"control": 4, "treatment": 4}
        assert (found["feedback"]["words"], found["hijack_rate"]["estimate"]) == (2, None)

    def test_a_fallback_counts_for_the_assigned_version(self, diary: Diary) -> None:
        diary.obeys(TEST)
        complain(diary, "v1", range(4), 0)
        for user in range(10, 14):
            diary.hears(diary.falls_back(user), complaint=True, label="dog")
        assert report(diary)["overall"]["treatment"] == 1

    def test_a_bad_hour_before_the_weight_grew_is_nobodys_fault(self, diary: Diary) -> None:
        """Simpson: half of all complained while v2 had a tenth of them, and nobody has since it
        has half. Pooled, 45 of 140 complained of v1 and 5 of 60 of v2."""
        diary.obeys(TEST, weight=0.1)
        complain(diary, "v1", range(90), 0.5)
        complain(diary, "v2", range(100, 110), 0.5)
        diary.obeys(TEST, minute=60, weight=0.5)
        complain(diary, "v1", range(200, 250), 0, minute=61)
        complain(diary, "v2", range(300, 350), 0, minute=61)
        overall = report(diary)["overall"]
        assert (overall["control"], overall["treatment"]) == (0.25, 0.25)
        assert overall["strata"] == 2

    def test_a_unit_speaks_for_its_arm_while_the_weight_stays(self, diary: Diary) -> None:
        """It grows, and user 3 of v1 meets v2: what it says then is of neither, and so is what user
        2 says, who stays."""
        diary.obeys(TEST, weight=0.1)
        complain(diary, "v1", range(1, 5), 0.25)
        complain(diary, "v2", range(10, 12), 0)
        diary.obeys(TEST, minute=2, weight=0.5)
        diary.hears(diary.answers("v2", user=3, minute=3), complaint=True)
        diary.hears(diary.answers("v1", user=2, minute=3), complaint=True)
        found = report(diary)
        overall = found["overall"]
        assert (overall["control"], overall["treatment"]) == (0.25, 0)
        assert found["feedback"]["of_others"] == 2

    def test_a_region_is_that_of_the_first_assignment(self, diary: Diary) -> None:
        """User 1 lives in Australia and complains from Germany; user 10 the other way round."""
        diary.obeys(TEST)
        for user, home, abroad in ((1, "AU", "DE"), (10, "DE", "AU")):
            diary.answers("v1", user, region=home)
            diary.hears(diary.answers("v1", user, 2, region=abroad), complaint=True)
        for user, assigned in ((2, "v1"), (3, "v2"), (4, "v2")):
            diary.answers(assigned, user, region="AU")
        found = report(diary, hours(0, 24, region="AU", countries=frozenset({"AU"})))
        assert (found["overall"]["control"], found["overall"]["treatment"]) == (0.5, 0)
        assert found["overall"]["units"] == {"control": 2, "treatment": 2}
        assert found["feedback"] == {"words": 1, "too_late": 0, "of_others": 1}
        assert list(found["srm_by_region"]) == ["AU"]

    def test_words_of_those_who_were_assigned_before_are_counted_apart(self, diary: Diary) -> None:
        diary.obeys(TEST)
        diary.answers("v1", user=1)
        diary.hears(diary.answers("v1", user=1, minute=90), complaint=True)
        complain(diary, "v1", range(2, 6), 0.5, minute=91)
        complain(diary, "v2", range(10, 14), 0, minute=91)
        found = report(diary, hours(1, 24))
        assert found["overall"]["control"] == 0.5
        assert found["feedback"] == {"words": 2, "too_late": 0, "of_others": 1}

    def test_lost_units_make_it_invalid(self, diary: Diary) -> None:
        diary.obeys(TEST)
        complain(diary, "v1", range(60), 0.5)
        complain(diary, "v2", range(100, 110), 0)
        found = report(diary)
        assert found["srm"]["invalid"] is True
        assert found["finding"] == found["overall"]["finding"] == "invalid: SRM"

    def test_words_that_come_from_one_arm_alone_are_a_mismatch(self, diary: Diary) -> None:
        diary.obeys(TEST)
        complain(diary, "v1", range(60), 1)
        complain(diary, "v2", range(100, 160), 0)
        found = report(diary)
        assert found["srm"]["invalid"] is False
        spoke = found["feedback_srm"]
        assert (spoke["control"], spoke["treatment"], spoke["invalid"]) == (60, 0, True)

    def test_words_are_expected_by_the_weight_of_their_epoch(self, diary: Diary) -> None:
        diary.obeys(TEST, weight=0.1)
        complain(diary, "v1", range(90), 1)
        complain(diary, "v2", range(100, 110), 1)
        diary.obeys(TEST, minute=60, weight=0.5)
        complain(diary, "v1", range(200, 210), 1, minute=61)
        complain(diary, "v2", range(300, 310), 1, minute=61)
        spoke = report(diary)["feedback_srm"]
        assert (spoke["control"], spoke["treatment"]) == (100, 20)
        assert spoke["expected_treatment"] == pytest.approx(0.1 * 100 + 0.5 * 20)
        assert spoke["invalid"] is False

    def test_new_labels_are_a_line_of_their_own(self, diary: Diary) -> None:
        """v1 calls koalas dogs, and v2 calls one cat a koala."""
        diary.obeys(TEST)
        for user, assigned, answered, truth in (
            (1, "v1", "dog", "koala"),
            (2, "v1", "dog", "koala"),
            (3, "v1", "cat", "dog"),
            (4, "v1", "cat", None),
            (11, "v2", "koala", "cat"),
        ):
            diary.hears(diary.answers(assigned, user, label=answered), complaint=True, label=truth)
        complain(diary, "v2", range(12, 15), 0)
        found = report(diary)
        assert found["labels"] == {"shared": ["cat", "dog"], "new": ["koala"]}
        lines = ("overall", "shared_labels", "new_labels", "truth_not_told")
        assert {line: (found[line]["control"], found[line]["treatment"]) for line in lines} == {
            "overall": (1, 0.25),
            "shared_labels": (0.25, 0.25),
            "new_labels": (0.5, 0),
            "truth_not_told": (0.25, 0),
        }

    def test_versions_of_the_same_labels_have_no_lines(self, diary: Diary) -> None:
        diary.obeys(TEST, control="v2", treatment="v3")
        complain(diary, "v2", range(4), 0.5)
        complain(diary, "v3", range(10, 14), 0)
        found = report(diary)
        assert found["shared_labels"] is found["new_labels"] is found["truth_not_told"] is None
        assert found["overall"]["control"] == 0.5
        assert found["hijack_rate"]["estimate"] is None

    def test_ratings(self, diary: Diary) -> None:
        """The mean of each unit's own mean, of those who rated."""
        rating = {"metric": "rating", "direction": "increase", "min_effect": 0.1}
        diary.obeys(TEST, outcome=rating)
        for user, assigned, stars in ((1, "v1", (1, 3)), (2, "v1", (3,)), (11, "v2", (5, 4))):
            for number in stars:
                diary.hears(diary.answers(assigned, user), rating=number)
        for user in (3, 4):
            diary.answers("v1", user)
        diary.hears(diary.answers("v2", 12), rating=4)
        found = report(diary)
        assert (found["overall"]["control"], found["overall"]["treatment"]) == (2.5, 4.25)
        assert found["overall"]["unit"] == "of 5"
        assert found["responders"]["coverage"] == {"control": 0.5, "treatment": 1}
        assert (found["overall"]["detectable"], found["overall"]["units_needed"]) == (None, None)


def test_hijack_rate(diary: Diary) -> None:
    """Of 5 koalas of v2 whose truth was told, 2 were none. A bare complaint tells no truth, and
    what v1 answers is not asked."""
    diary.obeys(TEST)
    words: list[dict[str, Any]] = [
        {"label": "koala"},
        {"label": "dog", "complaint": True},
        {"correct": True},
        {"correct": False},
        {"label": "koala", "rating": 5},
        {"complaint": True},
        {"complaint": False},
    ]
    for user, said in enumerate(words):
        diary.hears(diary.answers("v2", user, label="koala"), **said)
    diary.hears(diary.answers("v2", 20, label="dog"), label="koala")
    diary.hears(diary.answers("v1", 21, label="dog"), label="koala")
    rate = report(diary)["hijack_rate"]
    assert rate == {"estimate": 0.4, "answers": 5}


class TestRequests:
    RULE = TEST | {"unit": "request"}

    def test_every_answer_is_a_unit(self, diary: Diary) -> None:
        """One user asks for all of them: 2 of 4 answers of v1 got a complaint, 1 of 5 of v2's."""
        diary.obeys(self.RULE)
        for assigned, answers, complaints in (("v1", 4, 2), ("v2", 5, 1)):
            for number in range(answers):
                answer = diary.answers(assigned, user=1, minute=7 * number)
                if number < complaints:
                    diary.hears(answer, complaint=True, label="dog")
                else:
                    diary.hears(answer, complaint=False)
        found = report(diary)
        assert (found["overall"]["control"], found["overall"]["treatment"]) == (0.5, 0.2)
        assert found["overall"]["units"] == {"control": 4, "treatment": 5}
        assert (found["srm"]["control"], found["srm"]["treatment"]) == (4, 5)
        assert (found["feedback_srm"]["control"], found["feedback_srm"]["treatment"]) == (4, 5)
        assert found["responders"]["coverage"] == {"control": 1, "treatment": 1}
        assert found["feedback"] == {"words": 9, "too_late": 0, "of_others": 0}

    def test_who_says_nothing_counts(self, diary: Diary) -> None:
        diary.obeys(self.RULE)
        for minute in range(20):
            diary.answers("v1", user=None, minute=minute)
            answer = diary.answers("v2", user=None, minute=minute)
            if minute < 5:
                diary.hears(answer, complaint=True, label="dog")
        found = report(diary)
        assert (found["overall"]["control"], found["overall"]["treatment"]) == (0, 0.25)
        assert found["responders"]["coverage"] == {"control": 0, "treatment": 0.25}

    def test_hours_of_different_weights_are_not_pooled(self, diary: Diary) -> None:
        """Simpson, as with users, within one hour of the clock."""
        diary.obeys(self.RULE, weight=0.1)
        complain(diary, "v1", range(90), 0.5)
        complain(diary, "v2", range(10), 0.5)
        diary.obeys(self.RULE, minute=10, weight=0.5)
        complain(diary, "v1", range(50), 0, minute=11)
        complain(diary, "v2", range(50), 0, minute=11)
        overall = report(diary)["overall"]
        assert (overall["control"], overall["treatment"]) == (0.25, 0.25)

    def test_a_region_is_that_of_the_answer(self, diary: Diary) -> None:
        diary.obeys(self.RULE)
        for region in ("AU", "DE"):
            for assigned in ("v1", "v1", "v2", "v2"):
                answer = diary.answers(assigned, user=1, region=region)
            diary.hears(answer, complaint=True, label="dog")
        found = report(diary, hours(0, 24, region="AU", countries=frozenset({"AU"})))
        assert found["overall"]["treatment"] == 0.5
        assert found["feedback"] == {"words": 1, "too_late": 0, "of_others": 0}

    def test_what_was_pinned_is_no_unit(self, diary: Diary) -> None:
        diary.obeys(self.RULE, allow_pin=True)
        complain(diary, "v1", range(2), 0.5)
        complain(diary, "v2", range(2), 0.5)
        answer = diary.answers("v2", user=1, reason="pinned")
        diary.hears(answer, complaint=True, label="dog")
        found = report(diary)
        assert found["overall"]["units"] == {"control": 2, "treatment": 2}
        assert found["feedback"]["words"] == 2


@pytest.mark.parametrize("unit", ["request", "user"])
def test_slices_are_for_diagnosis(diary: Diary, unit: str) -> None:
    """Each region and epoch by itself, with intervals that are wider for being several."""
    diary.obeys(TEST, unit=unit, weight=0.1)
    for n in range(80):
        region = ("AU", "DE")[n % 2]
        for assigned, share in (("v1", 0.5), ("v2", 0.1)):
            answer = diary.answers(assigned, 2 * n + (assigned == "v2"), region=region)
            if region == "AU" and n % 20 < 20 * share:
                diary.hears(answer, complaint=True, label="dog")
    alone = report(diary)
    diary.obeys(TEST, unit=unit, minute=60, weight=0.5)
    complain(diary, "v1", range(1000, 1040), 0.5, minute=61)
    complain(diary, "v2", range(2000, 2040), 0.5, minute=61)
    found = report(diary)
    shares = [(r["region"], r["control"], r["treatment"]) for r in alone["regions"]]
    assert shares == [("AU", 0.5, 0.1), ("DE", 0, 0)]
    (one,) = alone["by_epoch"]
    assert {name: one[name] for name in ("epoch", "weight", "control")} == {
        "epoch": 1,
        "weight": 0.1,
        "control": 0.25,
    }
    assert one["interval"] == alone["overall"]["interval"]
    first, second = found["by_epoch"]
    assert (second["weight"], second["control"], second["treatment"]) == (0.5, 0.5, 0.5)
    assert (first["control"], first["treatment"]) == (one["control"], one["treatment"])
    assert first["interval"][0] < one["interval"][0] < one["interval"][1] < first["interval"][1]


def test_sessions_are_units_too(diary: Diary) -> None:
    diary.obeys(TEST, unit="session")
    for session, assigned in ((1, "v1"), (2, "v1"), (3, "v2"), (4, "v2")):
        for minute in (1, 2):
            answer = diary.answers(assigned, 1, minute, session=f"{session:016x}" * 2)
        if session == 1:
            diary.hears(answer, complaint=True)
    found = report(diary)
    assert (found["overall"]["control"], found["overall"]["treatment"]) == (0.5, 0)
    assert found["unit"] == "session"


@pytest.mark.parametrize("unit", ["request", "session", "user"])
def test_nothing_came(diary: Diary, unit: str) -> None:
    diary.obeys(TEST, unit=unit)
    found = report(diary)
    assert found["finding"] == "not known"
    assert found["feedback"] == {"words": 0, "too_late": 0, "of_others": 0}
    assert found["overall"]["interval"] == [None, None]


@pytest.mark.parametrize("unit", ["request", "user"])
def test_nobody_said_anything(diary: Diary, unit: str) -> None:
    diary.obeys(TEST, unit=unit)
    complain(diary, "v1", range(4), 0)
    complain(diary, "v2", range(10, 14), 0)
    found = report(diary)
    assert found["finding"] == "keep going"
    low, high = found["overall"]["interval"]
    assert low < -0.5  # of four units an arm
    assert high > 0.5
    assert found["responders"]["among"]["difference"] is None
