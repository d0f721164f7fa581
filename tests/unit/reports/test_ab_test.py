from __future__ import annotations

from io import StringIO
from itertools import islice
from typing import Any

import pytest
from rich.console import Console

from serve_app.cli.report import ab_test
from serve_app.reports.period import Period
from tests.unit.reports.conftest import (
    DAY,
    TEST,
    StoreBuilder,
    as_json,
    assess,
    hours,
    users_in,
)


def make_report(
    builder: StoreBuilder, period: Period = DAY, name: str | None = None
) -> dict[str, Any]:
    return as_json(assess("ab", builder.build(), period, name))


def counts(report: dict[str, Any]) -> dict[str, int]:
    """The feedback by kind, without kinds that there is none of."""
    return {kind: count for kind, count in report["feedback"].items() if count}


def add_users(
    builder: StoreBuilder, assigned: str, users: range, share: float, minute: int = 1
) -> None:
    """One exposure per user. The first users, a share of all, complain with the label dog."""
    for number, user in enumerate(users):
        exposure = builder.add_exposure(assigned, user, minute)
        if number < share * len(users):
            builder.add_feedback(exposure, complaint=True, label="dog")


class TestUsers:
    def test_complaints_are_a_share_of_assigned_units(self, builder: StoreBuilder) -> None:
        builder.adopt_rule(TEST)
        add_users(builder, "v1", range(20), 0.4)
        add_users(builder, "v2", range(100, 120), 0.1)
        report = make_report(builder)
        overall = report["overall"]
        assert (overall["control"], overall["treatment"]) == (0.4, 0.1)
        assert overall["difference"] == pytest.approx(-0.3)
        assert overall["units"] == {"control": 20, "treatment": 20}
        assert counts(report) == {"answers": 40, "eligible": 10}
        assert report["responders"]["coverage"] == {"control": 0.4, "treatment": 0.1}
        assert (report["control"], report["treatment"], report["unit"]) == ("v1", "v2", "user")
        assert report["outcome"]["metric"] == "complaint"

    def test_a_unit_counts_once_and_its_last_feedback_counts(self, builder: StoreBuilder) -> None:
        builder.adopt_rule(TEST)
        for user in (1, 2, 3, 4):
            first, second = (builder.add_exposure("v1", user, minute) for minute in (1, 2))
            if user == 1:
                builder.add_feedback(first, complaint=True)
                builder.add_feedback(second, complaint=True)
            if user == 2:
                builder.add_feedback(first, complaint=True)
                builder.add_feedback(first, after_s=90, complaint=False)
        add_users(builder, "v2", range(10, 14), 0)
        report = make_report(builder)
        assert report["overall"]["control"] == 0.25
        assert report["feedback"]["eligible"] == 3

    def test_feedback_after_the_window_is_late(self, builder: StoreBuilder) -> None:
        builder.adopt_rule(TEST, outcome={"window": "1h"})
        add_users(builder, "v2", range(10, 14), 0)
        for user, after_s in ((1, 3600), (2, 3601), (3, 90_000), (4, 0)):
            builder.add_feedback(builder.add_exposure("v1", user), after_s, complaint=True)
        changed = builder.add_exposure("v1", 4)
        builder.add_feedback(changed, 10, complaint=True)
        builder.add_feedback(changed, 4000, complaint=False)
        report = make_report(builder)
        assert report["overall"]["control"] == 0.5
        assert counts(report) == {"answers": 9, "eligible": 5, "late": 2}

    def test_only_exposures_with_reason_split_are_compared(self, builder: StoreBuilder) -> None:
        builder.adopt_rule(TEST, allow_pin=True)
        add_users(builder, "v1", range(4), 0)
        add_users(builder, "v2", range(10, 14), 0.5)
        for user, assigned, reason in (
            (1, "v2", "pinned"),
            (None, "v1", "no_unit"),
            (21, "v1", "not_ready"),
            (22, "v1", "not_targeted"),
        ):
            exposure = builder.add_exposure(assigned, user, reason=reason)
            builder.add_feedback(exposure, complaint=True, label="dog")
        report = make_report(builder)
        assert (report["overall"]["control"], report["overall"]["treatment"]) == (0, 0.5)
        assert report["overall"]["units"] == {"control": 4, "treatment": 4}
        assert (report["feedback"]["eligible"], report["hijack_rate"]["estimate"]) == (2, None)

    def test_feedback_on_a_fallback_counts_for_the_assigned_version(
        self, builder: StoreBuilder
    ) -> None:
        builder.adopt_rule(TEST)
        add_users(builder, "v1", range(4), 0)
        for user in range(10, 14):
            builder.add_feedback(builder.add_fallback(user), complaint=True, label="dog")
        assert make_report(builder)["overall"]["treatment"] == 1

    def test_epochs_with_different_weights_are_not_pooled(self, builder: StoreBuilder) -> None:
        """Simpson's paradox: 50 % complain in the epoch with weight 0.1, and 0 % in that with 0.5.

        Pooled, 45 of 140 units complain about v1 and 5 of 60 about v2.
        """
        builder.adopt_rule(TEST, weight=0.1)
        add_users(builder, "v1", range(90), 0.5)
        add_users(builder, "v2", range(100, 110), 0.5)
        builder.adopt_rule(TEST, minute=120, weight=0.5)
        add_users(builder, "v1", range(200, 250), 0, minute=121)
        add_users(builder, "v2", range(300, 350), 0, minute=121)
        overall = make_report(builder)["overall"]
        assert (overall["control"], overall["treatment"]) == (0.25, 0.25)
        assert overall["strata"] == 2

    def test_a_unit_belongs_to_the_region_of_its_first_assignment(
        self, builder: StoreBuilder
    ) -> None:
        """User 1 is assigned in AU and complains in DE; user 10 the other way round."""
        builder.adopt_rule(TEST)
        for user, first, second in ((1, "AU", "DE"), (10, "DE", "AU")):
            builder.add_exposure("v1", user, region=first)
            builder.add_feedback(builder.add_exposure("v1", user, 2, region=second), complaint=True)
        for user, assigned in ((2, "v1"), (3, "v2"), (4, "v2")):
            builder.add_exposure(assigned, user, region="AU")
        report = make_report(builder, hours(0, 24, region="AU", countries=frozenset({"AU"})))
        assert (report["overall"]["control"], report["overall"]["treatment"]) == (0.5, 0)
        assert report["overall"]["units"] == {"control": 2, "treatment": 2}
        assert counts(report) == {"answers": 5, "eligible": 1, "ineligible": 1}
        assert list(report["srm_by_region"]) == ["AU"]

    def test_feedback_of_a_unit_assigned_before_the_period_is_ineligible(
        self, builder: StoreBuilder
    ) -> None:
        builder.adopt_rule(TEST)
        builder.add_exposure("v1", user=1)
        builder.add_feedback(builder.add_exposure("v1", user=1, minute=90), complaint=True)
        add_users(builder, "v1", range(2, 6), 0.5, minute=91)
        add_users(builder, "v2", range(10, 14), 0, minute=91)
        report = make_report(builder, hours(1, 24))
        assert report["overall"]["control"] == 0.5
        assert counts(report) == {"answers": 9, "eligible": 2, "ineligible": 1}

    def test_an_srm_makes_the_report_invalid(self, builder: StoreBuilder) -> None:
        builder.adopt_rule(TEST)
        add_users(builder, "v1", range(60), 0.5)
        add_users(builder, "v2", range(100, 110), 0)
        report = make_report(builder)
        assert report["srm"]["invalid"] is True
        assert report["finding"] == report["overall"]["finding"] == "invalid: SRM"

    def test_feedback_from_one_arm_only_is_a_feedback_srm(self, builder: StoreBuilder) -> None:
        builder.adopt_rule(TEST)
        add_users(builder, "v1", range(60), 1)
        add_users(builder, "v2", range(100, 160), 0)
        report = make_report(builder)
        assert report["srm"]["invalid"] is False
        srm = report["feedback_srm"]
        assert (srm["control"], srm["treatment"], srm["invalid"]) == (60, 0, True)

    def test_shared_and_new_labels_are_compared_separately(self, builder: StoreBuilder) -> None:
        """v1 predicts dog for two koalas, and v2 koala for one cat."""
        builder.adopt_rule(TEST)
        for user, assigned, label, truth in (
            (1, "v1", "dog", "koala"),
            (2, "v1", "dog", "koala"),
            (3, "v1", "cat", "dog"),
            (4, "v1", "cat", None),
            (11, "v2", "koala", "cat"),
        ):
            exposure = builder.add_exposure(assigned, user, label=label)
            builder.add_feedback(exposure, complaint=True, label=truth)
        add_users(builder, "v2", range(12, 15), 0)
        report = make_report(builder)
        assert report["labels"] == {"shared": ["cat", "dog"], "new": ["koala"]}
        keys = ("overall", "shared_labels", "new_labels", "unknown_truth")
        assert {key: (report[key]["control"], report[key]["treatment"]) for key in keys} == {
            "overall": (1, 0.25),
            "shared_labels": (0.25, 0.25),
            "new_labels": (0.5, 0),
            "unknown_truth": (0.25, 0),
        }

    def test_versions_with_the_same_labels_have_one_comparison(self, builder: StoreBuilder) -> None:
        builder.adopt_rule(TEST, control="v2", treatment="v3")
        add_users(builder, "v2", range(4), 0.5)
        add_users(builder, "v3", range(10, 14), 0)
        report = make_report(builder)
        assert report["shared_labels"] is report["new_labels"] is report["unknown_truth"] is None
        assert report["overall"]["control"] == 0.5
        assert report["hijack_rate"]["estimate"] is None

    def test_a_rating_is_the_mean_of_the_units_means(self, builder: StoreBuilder) -> None:
        rating = {"metric": "rating", "direction": "increase", "min_effect": 0.1, "window": "1h"}
        builder.adopt_rule(TEST, outcome=rating)
        for user, assigned, stars in ((1, "v1", (1, 3)), (2, "v1", (3,)), (11, "v2", (5, 4))):
            for number in stars:
                builder.add_feedback(builder.add_exposure(assigned, user), rating=number)
        for user in (3, 4):
            builder.add_exposure("v1", user)
        builder.add_feedback(builder.add_exposure("v2", 12), rating=4)
        report = make_report(builder)
        assert (report["overall"]["control"], report["overall"]["treatment"]) == (2.5, 4.25)
        assert report["overall"]["unit"] == "of 5"
        assert report["responders"]["coverage"] == {"control": 0.5, "treatment": 1}
        assert (report["overall"]["detectable_effect"], report["overall"]["units_needed"]) == (
            None,
            None,
        )


def test_hijack_rate_counts_predictions_of_treatment(builder: StoreBuilder) -> None:
    builder.adopt_rule(TEST)
    contents: list[dict[str, Any]] = [
        {"label": "koala"},
        {"label": "dog"},
        {"correct": True},
        {"correct": False},
    ]
    for user, content in enumerate(contents):
        builder.add_feedback(builder.add_exposure("v2", user, label="koala"), **content)
    builder.add_feedback(builder.add_exposure("v1", 9, label="koala"), label="dog")
    assert make_report(builder)["hijack_rate"] == {"estimate": 0.5, "predictions": 4}


class TestRequests:
    RULE = TEST | {"unit": "request"}

    def test_every_exposure_is_a_unit(self, builder: StoreBuilder) -> None:
        """One user sends all requests: complaints on 2 of 4 exposures of v1 and 1 of 5 of v2."""
        builder.adopt_rule(self.RULE)
        for assigned, exposures, complaints in (("v1", 4, 2), ("v2", 5, 1)):
            for number in range(exposures):
                exposure = builder.add_exposure(assigned, user=1, minute=7 * number)
                if number < complaints:
                    builder.add_feedback(exposure, complaint=True, label="dog")
                else:
                    builder.add_feedback(exposure, complaint=False)
        report = make_report(builder)
        assert (report["overall"]["control"], report["overall"]["treatment"]) == (0.5, 0.2)
        assert report["overall"]["units"] == {"control": 4, "treatment": 5}
        assert (report["srm"]["control"], report["srm"]["treatment"]) == (4, 5)
        assert (report["feedback_srm"]["control"], report["feedback_srm"]["treatment"]) == (4, 5)
        assert report["responders"]["coverage"] == {"control": 1, "treatment": 1}
        assert counts(report) == {"answers": 9, "eligible": 9}

    def test_feedback_belongs_to_the_region_of_its_exposure(self, builder: StoreBuilder) -> None:
        builder.adopt_rule(self.RULE)
        for region in ("AU", "DE"):
            for assigned in ("v1", "v1", "v2", "v2"):
                exposure = builder.add_exposure(assigned, user=1, region=region)
            builder.add_feedback(exposure, complaint=True, label="dog")
        report = make_report(builder, hours(0, 24, region="AU", countries=frozenset({"AU"})))
        assert report["overall"]["treatment"] == 0.5
        assert counts(report) == {"answers": 4, "eligible": 1}

    def test_a_pinned_exposure_is_not_a_unit(self, builder: StoreBuilder) -> None:
        builder.adopt_rule(self.RULE, allow_pin=True)
        add_users(builder, "v1", range(2), 0.5)
        add_users(builder, "v2", range(2), 0.5)
        exposure = builder.add_exposure("v2", user=1, reason="pinned")
        builder.add_feedback(exposure, complaint=True, label="dog")
        report = make_report(builder)
        assert report["overall"]["units"] == {"control": 2, "treatment": 2}
        assert report["feedback"]["eligible"] == 2


@pytest.mark.parametrize("unit", ["request", "user"])
def test_intervals_of_slices_are_simultaneous(builder: StoreBuilder, unit: str) -> None:
    """The interval of an epoch widens when a second epoch is compared."""
    same = TEST | {"control": "v2", "treatment": "v3", "unit": unit}
    builder.adopt_rule(same, weight=0.1)
    for n in range(80):
        region = ("AU", "DE")[n % 2]
        for assigned, share in (("v2", 0.5), ("v3", 0.1)):
            exposure = builder.add_exposure(assigned, 2 * n + (assigned == "v3"), region=region)
            if region == "AU" and n % 20 < 20 * share:
                builder.add_feedback(exposure, complaint=True, label="dog")
    one_epoch = make_report(builder)
    builder.adopt_rule(same, minute=120, weight=0.5)
    add_users(builder, "v2", range(1000, 1040), 0.5, minute=121)
    add_users(builder, "v3", range(2000, 2040), 0.5, minute=121)
    report = make_report(builder)
    shares = [(r["region"], r["control"], r["treatment"]) for r in one_epoch["regions"]]
    assert shares == [("AU", 0.5, 0.1), ("DE", 0, 0)]
    (only,) = one_epoch["by_epoch"]
    assert {name: only[name] for name in ("epoch", "weight", "control")} == {
        "epoch": 1,
        "weight": 0.1,
        "control": 0.25,
    }
    assert only["interval"] == one_epoch["overall"]["interval"]
    first, second = report["by_epoch"]
    assert (second["weight"], second["control"], second["treatment"]) == (0.5, 0.5, 0.5)
    assert (first["control"], first["treatment"]) == (only["control"], only["treatment"])
    assert first["interval"][0] < only["interval"][0] < only["interval"][1] < first["interval"][1]


def test_sessions_can_be_units(builder: StoreBuilder) -> None:
    builder.adopt_rule(TEST, unit="session")
    for session, assigned in ((1, "v1"), (2, "v1"), (3, "v2"), (4, "v2")):
        for minute in (1, 2):
            exposure = builder.add_exposure(assigned, 1, minute, session=f"{session:016x}" * 2)
        if session == 1:
            builder.add_feedback(exposure, complaint=True)
    report = make_report(builder)
    assert (report["overall"]["control"], report["overall"]["treatment"]) == (0.5, 0)
    assert report["unit"] == "session"


@pytest.mark.parametrize("unit", ["request", "session", "user"])
def test_a_report_without_exposures_is_not_known(builder: StoreBuilder, unit: str) -> None:
    builder.adopt_rule(TEST, unit=unit)
    report = make_report(builder)
    assert report["finding"] == "not known"
    assert report["sentence"] == "there are no units to compare."
    assert counts(report) == {}
    assert report["overall"]["interval"] == [None, None]


@pytest.mark.parametrize("unit", ["request", "user"])
def test_a_report_without_feedback_is_not_known(builder: StoreBuilder, unit: str) -> None:
    builder.adopt_rule(TEST, unit=unit)
    add_users(builder, "v1", range(4), 0)
    add_users(builder, "v2", range(10, 14), 0)
    report = make_report(builder)
    assert (report["finding"], report["sentence"]) == (
        "not known",
        "feedback on 0 of 8 answers, from 0 of 8 settled units: at least 10 are needed.",
    )
    assert report["overall"]["finding"] == report["shared_labels"]["finding"] == "not known"
    low, high = report["overall"]["interval"]
    assert (low, high) == pytest.approx((-1, 1), abs=0.1)  # four units per arm
    assert report["responders"]["mean"]["difference"] is None


@pytest.mark.parametrize(("unit", "first"), [("request", "01:02"), ("user", "02:01")])
def test_units_count_when_their_feedback_can_no_longer_change(
    builder: StoreBuilder, unit: str, first: str
) -> None:
    """A user for an hour and then the window of an hour, a request for the window and its minute.

    Units from minute 1 and from minute 120.
    """
    builder.adopt_rule(TEST, unit=unit)
    add_users(builder, "v1", range(20), 0.5)
    add_users(builder, "v2", range(100, 120), 0.5)
    add_users(builder, "v1", range(20, 40), 0, minute=120)
    add_users(builder, "v2", range(120, 140), 0, minute=120)
    early = make_report(builder, hours(0, 1))
    assert early["finding"] == "not known"
    assert early["sentence"] == (
        f"none of 40 units is settled yet: the first counts from 2023-11-15 {first} UTC, nine in"
        f" ten from 2023-11-15 {first} UTC."
    )
    report = make_report(builder, hours(0, 2.5))
    assert report["overall"]["units"] == {"control": 20, "treatment": 20}
    assert report["settling"]["settled"] == {"control": 20, "treatment": 20}
    assert report["settling"]["settling"] == 40
    assert report["overall"]["control"] == 0.5
    assert make_report(builder)["overall"]["control"] == 0.25


def test_only_answers_while_a_unit_settles_count(builder: StoreBuilder) -> None:
    builder.adopt_rule(TEST)
    add_users(builder, "v2", range(10, 14), 0)
    for user, minute in ((1, 60), (2, 61)):
        builder.add_exposure("v1", user)
        builder.add_feedback(builder.add_exposure("v1", user, minute), complaint=True)
    report = make_report(builder)
    assert report["overall"]["control"] == 0.5
    assert counts(report) == {"answers": 8, "eligible": 1, "ineligible": 1}


def test_feedback_on_units_that_are_not_settled_is_early(builder: StoreBuilder) -> None:
    builder.adopt_rule(TEST)
    add_users(builder, "v1", range(4), 0.5)
    add_users(builder, "v2", range(10, 14), 0, minute=70)
    builder.add_feedback(builder.add_exposure("v2", 10, 71), complaint=True)
    report = make_report(builder, hours(0, 2.5))
    assert counts(report) == {"answers": 9, "eligible": 2, "early": 1}


def test_units_that_a_change_of_the_weight_moved_fall_silent(builder: StoreBuilder) -> None:
    """The weight grows from 10 % to 50 % half an hour later; the others keep their feedback."""
    builder.adopt_rule(TEST, weight=0.1)
    groups = [("v2", (0.0, 0.1), 12), ("v1", (0.1, 0.5), 5), ("v1", (0.5, 1.0), 20)]
    users = {
        buckets: list(islice(users_in(*buckets, TEST["experiment"]), count))
        for _, buckets, count in groups
    }
    for version, buckets, _ in groups:
        for user in users[buckets]:
            builder.add_exposure(version, user)
    builder.adopt_rule(TEST, minute=30, weight=0.5)
    for version, buckets, _ in groups:
        now = "v2" if buckets == (0.1, 0.5) else version
        for user in users[buckets][:4]:
            exposure = builder.add_exposure(now, user, 40)
            builder.add_feedback(exposure, complaint=True, label="dog")
    report = make_report(builder)
    assert report["settling"]["changed_sides"] == 5
    assert report["overall"]["units"] == {"control": 20, "treatment": 12}
    assert report["overall"]["control"] == 4 / 20
    assert report["overall"]["treatment"] == pytest.approx(4 / 12)
    assert counts(report) == {"answers": 49, "eligible": 8, "ineligible": 4}
    assert report["feedback_srm"]["expected_treatment"] == pytest.approx(8 * 0.1 / 0.6)


def test_a_report_on_a_part_gives_no_verdict(builder: StoreBuilder) -> None:
    builder.adopt_rule(TEST)
    add_users(builder, "v1", range(200), 0.9, minute=70)
    add_users(builder, "v2", range(1000, 1200), 0, minute=70)
    assert make_report(builder)["finding"] == "better"
    part = make_report(builder, hours(1, 24))
    assert part["finding"] == part["overall"]["finding"] == "not known"
    assert "only a part of the experiment" in part["sentence"]
    assert part["overall"]["control"] == 0.9


def test_complaints_without_a_label_decide_together(builder: StoreBuilder) -> None:
    builder.adopt_rule(TEST)
    for user in range(400):
        for assigned, number, share in (("v1", user, 0.7), ("v2", 1000 + user, 0.2)):
            exposure = builder.add_exposure(assigned, number)
            if user < 400 * share:
                builder.add_feedback(exposure, complaint=True)
    report = make_report(builder)
    assert (report["finding"], report["sentence"]) == (
        "better",
        "treatment is better on all labels together; shared labels alone are not decided.",
    )
    shared = report["shared_labels"]
    assert "360 of 360 complaints came without a label" in shared["sentence"]
    assert shared["difference"] is None
    assert shared["possible"] == pytest.approx([-0.7, 0.2])
    assert shared["fixed_horizon_interval"] == [None, None]
    assert report["events"] == {"total": 360, "unknown_truth": 360}


def test_confirmations_of_unequal_shares_hold_the_verdict(builder: StoreBuilder) -> None:
    outcome = {"metric": "correct", "direction": "increase", "window": "1h"}
    builder.adopt_rule(TEST, outcome=outcome)
    for assigned, users, share in (("v1", range(400), 0.4), ("v2", range(1000, 1400), 0.1)):
        for number, user in enumerate(users):
            exposure = builder.add_exposure(assigned, user)
            if number < share * len(users):
                builder.add_feedback(exposure, correct=True)
    report = make_report(builder)
    assert (report["finding"], report["overall"]["finding"]) == ("keep going", "worse")
    assert "who answers" in report["sentence"]


def test_keep_going_says_how_long(builder: StoreBuilder) -> None:
    """80 units in the 24 hours until the look."""
    builder.adopt_rule(TEST)
    add_users(builder, "v1", range(40), 0.5)
    add_users(builder, "v2", range(100, 140), 0.4)
    report = make_report(builder)
    assert report["finding"] == "keep going"
    assert report["units_to_decide"] > 80
    assert report["sentence"].endswith(" at 80 a day.")


def test_quality_is_by_told_labels(builder: StoreBuilder) -> None:
    builder.adopt_rule(TEST)
    for user, assigned, told in ((1, "v1", "dog"), (2, "v1", "cat"), (3, "v2", "cat")):
        builder.add_feedback(builder.add_exposure(assigned, user, label="cat"), label=told)
    control, treatment = make_report(builder)["quality"]["versions"]
    assert (control["accuracy"]["estimate"], treatment["accuracy"]["estimate"]) == (0.5, 1)


def as_text(report: dict[str, Any]) -> str:
    out = Console(file=StringIO(), width=200)
    ab_test.show(out, report)
    assert isinstance(out.file, StringIO)
    return out.file.getvalue()


def test_text_has_a_table_once_units_are_settled(builder: StoreBuilder) -> None:
    builder.adopt_rule(TEST)
    add_users(builder, "v1", range(20), 0.5)
    add_users(builder, "v2", range(100, 120), 0.5)
    early = as_text(make_report(builder, hours(0, 1)))
    assert "not known  none of 40 units is settled yet" in early
    assert "units with a complaint" not in early
    report = as_text(make_report(builder))
    assert "shared labels: not decided.\nnew labels: no koala was reported.\n" in report
    assert "40 of 40 users are settled (2 h old)\n" in report
    assert "feedback within 1h on 20 answers to settled users in their first 1 h\n" in report
    assert "known to show cat or dog" in report
