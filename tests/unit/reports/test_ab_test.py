from __future__ import annotations

from typing import Any

import pytest

from serve_app.reports.period import Period
from tests.unit.reports.conftest import DAY, TEST, StoreBuilder, as_json, assess, hours


def make_report(
    builder: StoreBuilder, period: Period = DAY, name: str | None = None
) -> dict[str, Any]:
    return as_json(assess("ab", builder.build(), period, name))


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
        assert report["feedback"] == {"eligible": 10, "late": 0, "ineligible": 0}
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
        assert report["feedback"] == {"eligible": 5, "late": 2, "ineligible": 0}

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
        builder.adopt_rule(TEST, minute=60, weight=0.5)
        add_users(builder, "v1", range(200, 250), 0, minute=61)
        add_users(builder, "v2", range(300, 350), 0, minute=61)
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
        assert report["feedback"] == {"eligible": 1, "late": 0, "ineligible": 1}
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
        assert report["feedback"] == {"eligible": 2, "late": 0, "ineligible": 1}

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
        rating = {"metric": "rating", "direction": "increase", "min_effect": 0.1}
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
        assert report["feedback"] == {"eligible": 9, "late": 0, "ineligible": 0}

    def test_feedback_belongs_to_the_region_of_its_exposure(self, builder: StoreBuilder) -> None:
        builder.adopt_rule(self.RULE)
        for region in ("AU", "DE"):
            for assigned in ("v1", "v1", "v2", "v2"):
                exposure = builder.add_exposure(assigned, user=1, region=region)
            builder.add_feedback(exposure, complaint=True, label="dog")
        report = make_report(builder, hours(0, 24, region="AU", countries=frozenset({"AU"})))
        assert report["overall"]["treatment"] == 0.5
        assert report["feedback"] == {"eligible": 1, "late": 0, "ineligible": 0}

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
    builder.adopt_rule(TEST, unit=unit, weight=0.1)
    for n in range(80):
        region = ("AU", "DE")[n % 2]
        for assigned, share in (("v1", 0.5), ("v2", 0.1)):
            exposure = builder.add_exposure(assigned, 2 * n + (assigned == "v2"), region=region)
            if region == "AU" and n % 20 < 20 * share:
                builder.add_feedback(exposure, complaint=True, label="dog")
    one_epoch = make_report(builder)
    builder.adopt_rule(TEST, unit=unit, minute=60, weight=0.5)
    add_users(builder, "v1", range(1000, 1040), 0.5, minute=61)
    add_users(builder, "v2", range(2000, 2040), 0.5, minute=61)
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
    assert report["feedback"] == {"eligible": 0, "late": 0, "ineligible": 0}
    assert report["overall"]["interval"] == [None, None]


@pytest.mark.parametrize("unit", ["request", "user"])
def test_a_report_without_feedback_keeps_going(builder: StoreBuilder, unit: str) -> None:
    builder.adopt_rule(TEST, unit=unit)
    add_users(builder, "v1", range(4), 0)
    add_users(builder, "v2", range(10, 14), 0)
    report = make_report(builder)
    assert report["finding"] == "keep going"
    low, high = report["overall"]["interval"]
    assert low < -0.5  # four units per arm
    assert high > 0.5
    assert report["responders"]["mean"]["difference"] is None
