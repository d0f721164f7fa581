from __future__ import annotations

from typing import Any

import pytest

from serve_app.clock import HOUR_MS, MINUTE_MS
from serve_app.reports import traffic
from serve_app.reports.period import Period
from tests.unit.reports.conftest import (
    CANARY,
    DAY,
    SHADOW,
    START_MS,
    TEST,
    StoreBuilder,
    as_json,
    hours,
)

SINGLE = {"kind": "single", "stable": "v1"}


def make_report(builder: StoreBuilder, period: Period = DAY) -> dict[str, Any]:
    return as_json(traffic.assess(builder.build(), period))


def test_the_shares_count_only_the_reason_split(builder: StoreBuilder) -> None:
    """1 of 4 split exposures is assigned to v2. Other reasons are in separate groups."""
    builder.adopt_rule(CANARY, weight=0.2, allow_pin=True)
    for user in (1, 2, 3):
        builder.add_exposure("v1", user)
    builder.add_exposure("v2", user=4, latency_ms=30.0)
    for reason in ("tagged", "tagged", "pinned"):
        builder.add_exposure("v2", user=5, reason=reason)
    builder.add_exposure("v1", user=None, reason="no_unit")
    builder.add_exposure("v1", user=6, reason="not_ready")
    (epoch,) = make_report(builder)["epochs"]
    assert (epoch["planned_share"], epoch["exposure_share"], epoch["exposures"]) == (0.2, 0.25, 9)
    assert epoch["unit_share"] == 0.25
    assert [(g["version"], g["reason"], g["exposures"]) for g in epoch["groups"]] == [
        ("v1", "no_unit", 1),
        ("v1", "not_ready", 1),
        ("v1", "split", 3),
        ("v2", "pinned", 1),
        ("v2", "split", 1),
        ("v2", "tagged", 2),
    ]
    assert [g["share"] for g in epoch["groups"]] == pytest.approx(
        [c / 9 for c in (1, 1, 3, 1, 1, 2)]
    )
    assert [g["mean_latency_ms"] for g in epoch["groups"]] == [10, 10, 10, 10, 30, 10]


def test_a_fallback_counts_against_the_assigned_version(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    builder.add_exposure("v1", user=1)
    builder.add_fallback(user=2)
    builder.add_exposure("v2", user=3, served=None, label=None, error="internal")
    report = make_report(builder)
    assert (report["exposures"], report["errors"], report["fallbacks"]) == (3, 2, 1)
    stable, candidate = report["epochs"][0]["groups"]
    assert (stable["version"], stable["errors"], stable["fallbacks"]) == ("v1", 0, 0)
    assert (candidate["version"], candidate["errors"], candidate["fallbacks"]) == ("v2", 2, 1)
    assert report["epochs"][0]["exposure_share"] == pytest.approx(2 / 3)


def test_each_epoch_has_its_own_shares(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY, weight=0.1)
    builder.add_exposure("v1", user=1)
    builder.adopt_rule(CANARY, minute=60, weight=0.5)
    builder.add_exposure("v2", user=2, minute=61)
    builder.adopt_rule(SINGLE, minute=120)
    builder.add_exposure("v1", user=1, minute=121, reason="static")
    builder.adopt_rule(SHADOW, minute=180)
    report = make_report(builder)
    assert [
        (e["epoch"], e["kind"], e["experiment"], e["planned_share"], e["unit_share"])
        for e in report["epochs"]
    ] == [
        (1, "canary_parallel", "koala-canary", 0.1, 0),
        (2, "canary_parallel", "koala-canary", 0.5, 1),
        (3, "single", None, None, None),
        (4, "shadow", "shadow-v1-v2", None, None),
    ]
    assert [e["from_ms"] for e in report["epochs"]] == [START_MS + h * HOUR_MS for h in range(4)]
    assert report["epochs"][0]["to_ms"] == report["epochs"][1]["from_ms"]
    assert report["epochs"][3]["to_ms"] is None
    assert [split["experiment"] for split in report["experiments"]] == ["koala-canary"]


def test_the_share_of_units_is_not_that_of_exposures(builder: StoreBuilder) -> None:
    """Users who came under an earlier weight are no new units."""
    builder.adopt_rule(CANARY, weight=0.1)
    builder.add_exposure("v1", user=1)
    builder.adopt_rule(CANARY, minute=60, weight=0.5)
    builder.add_exposure("v1", user=1, minute=61)
    builder.add_exposure("v1", user=2, minute=61)
    for minute in (61, 62, 63):
        builder.add_exposure("v2", user=3, minute=minute)
    _, epoch = make_report(builder)["epochs"]
    assert (epoch["unit_share"], epoch["exposure_share"]) == (0.5, 0.6)


def test_srm_counts_units_not_exposures(builder: StoreBuilder) -> None:
    """A user of v2 with 60 exposures is one unit."""
    builder.adopt_rule(TEST)
    builder.add_exposure("v1", user=1)
    for minute in range(60):
        builder.add_exposure("v2", user=2, minute=minute)
    (experiment,) = make_report(builder)["experiments"]
    assert (experiment["srm"]["control"], experiment["srm"]["treatment"]) == (1, 1)
    assert experiment["srm"]["invalid"] is False


def test_srm_by_region_locates_lost_units(builder: StoreBuilder) -> None:
    builder.adopt_rule(TEST)
    for user in range(40):
        builder.add_exposure("v1", user, region="AU")
        builder.add_exposure("v1" if user % 2 else "v2", 100 + user, region="DE")
    (experiment,) = make_report(builder)["experiments"]
    assert experiment["srm"]["invalid"] is True
    assert {r: srm["invalid"] for r, srm in experiment["srm_by_region"].items()} == {
        "AU": True,
        "DE": False,
    }


def test_a_report_can_be_limited_to_a_region(builder: StoreBuilder) -> None:
    builder.adopt_rule(TEST)
    builder.add_exposure("v1", user=1, region="AU")
    builder.add_exposure("v2", user=2, region="NZ")
    builder.add_exposure("v2", user=3, region="DE")
    builder.add_exposure("v2", user=4, region=None)
    all_regions = make_report(builder)
    assert [(r["region"], r["exposures"]) for r in all_regions["regions"]] == [
        (None, 1),
        ("AU", 1),
        ("DE", 1),
        ("NZ", 1),
    ]
    oceania = make_report(
        builder, hours(0, 24, region="oceania", countries=frozenset({"AU", "NZ", "FJ"}))
    )
    assert (oceania["exposures"], oceania["period"]["region"]) == (2, "oceania")
    assert oceania["epochs"][0]["exposure_share"] == 0.5
    assert oceania["experiments"][0]["srm"]["control"] == 1


def test_only_exposures_in_the_period_count(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    for minute in (30, 89, 90, 119, 120):
        builder.add_exposure("v1", user=minute, minute=minute)
    report = make_report(builder, hours(1.5, 2))
    assert report["exposures"] == 2
    assert report["series"] == {
        "slot_ms": MINUTE_MS,
        "points": [
            {"at_ms": START_MS + m * MINUTE_MS, "exposures": 1, "errors": 0, "fallbacks": 0}
            for m in (90, 119)
        ],
    }


def test_exposures_without_an_epoch_are_counted(builder: StoreBuilder) -> None:
    builder.add_exposure("v1", user=1)
    report = make_report(builder)
    assert (report["exposures"], report["without_epoch"], report["epochs"]) == (1, 1, [])
    assert report["recording"]["without_epoch"] == 1


def test_an_exposure_without_a_version_is_a_group(builder: StoreBuilder) -> None:
    builder.adopt_rule(SINGLE)
    builder.add_exposure(
        None, user=1, reason="static", label=None, error="not_ready", model_ms=None
    )
    (group,) = make_report(builder)["epochs"][0]["groups"]
    assert (group["version"], group["errors"], group["fallbacks"]) == (None, 1, 0)


def test_a_report_without_exposures_is_empty(builder: StoreBuilder) -> None:
    report = make_report(builder)
    assert (report["exposures"], report["errors"], report["fallbacks"]) == (0, 0, 0)
    assert report["epochs"] == report["experiments"] == report["regions"] == []
    assert report["series"]["points"] == []


def test_an_epoch_without_exposures_has_no_share(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    (epoch,) = make_report(builder)["epochs"]
    assert (epoch["exposures"], epoch["exposure_share"], epoch["groups"]) == (0, None, [])
    assert epoch["unit_share"] is None
