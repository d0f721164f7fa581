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
    Diary,
    as_json,
    hours,
)

SINGLE = {"kind": "single", "stable": "v1"}


def report(diary: Diary, period: Period = DAY) -> dict[str, Any]:
    return as_json(traffic.report(diary.store(), period))


def test_planned_and_actual_shares(diary: Diary) -> None:
    """Of 4 exposures that were split, 1 went to v2; what was tagged, pinned or not split is in
    rows of its own."""
    diary.obeys(CANARY, weight=0.2, allow_pin=True)
    for user in (1, 2, 3):
        diary.answers("v1", user)
    diary.answers("v2", user=4, latency_ms=30.0)
    for reason in ("tagged", "tagged", "pinned"):
        diary.answers("v2", user=5, reason=reason)
    diary.answers("v1", user=None, reason="no_unit")
    diary.answers("v1", user=6, reason="not_ready")
    (epoch,) = report(diary)["epochs"]
    assert (epoch["planned_share"], epoch["actual_share"], epoch["exposures"]) == (0.2, 0.25, 9)
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


def test_a_fallback_counts_against_the_assigned_version(diary: Diary) -> None:
    diary.obeys(CANARY)
    diary.answers("v1", user=1)
    diary.falls_back(user=2)
    diary.answers("v2", user=3, served=None, label=None, error="internal")
    found = report(diary)
    assert (found["exposures"], found["errors"], found["fallbacks"]) == (3, 2, 1)
    stable, candidate = found["epochs"][0]["groups"]
    assert (stable["version"], stable["errors"], stable["fallbacks"]) == ("v1", 0, 0)
    assert (candidate["version"], candidate["errors"], candidate["fallbacks"]) == ("v2", 2, 1)
    assert found["epochs"][0]["actual_share"] == pytest.approx(2 / 3)


def test_each_epoch_is_told_by_itself(diary: Diary) -> None:
    diary.obeys(CANARY, weight=0.1)
    diary.answers("v1", user=1)
    diary.obeys(CANARY, minute=60, weight=0.5)
    diary.answers("v2", user=2, minute=61)
    diary.obeys(SINGLE, minute=120)
    diary.answers("v1", user=1, minute=121, reason="static")
    diary.obeys(SHADOW, minute=180)
    found = report(diary)
    assert [
        (e["epoch"], e["kind"], e["experiment"], e["planned_share"], e["actual_share"])
        for e in found["epochs"]
    ] == [
        (1, "canary_parallel", "koala-canary", 0.1, 0),
        (2, "canary_parallel", "koala-canary", 0.5, 1),
        (3, "single", None, None, None),
        (4, "shadow", None, None, None),
    ]
    assert [e["from_ms"] for e in found["epochs"]] == [START_MS + h * HOUR_MS for h in range(4)]
    assert found["epochs"][0]["to_ms"] == found["epochs"][1]["from_ms"]
    assert found["epochs"][3]["to_ms"] is None


def test_units_are_checked_for_srm_and_exposures_are_not(diary: Diary) -> None:
    """One user of v2 who asks 60 times is one unit."""
    diary.obeys(TEST)
    diary.answers("v1", user=1)
    for minute in range(60):
        diary.answers("v2", user=2, minute=minute)
    (found,) = report(diary)["experiments"]
    assert (found["srm"]["control"], found["srm"]["treatment"]) == (1, 1)
    assert found["srm"]["invalid"] is False


def test_lost_units_are_a_mismatch_where_they_were_lost(diary: Diary) -> None:
    diary.obeys(TEST)
    for user in range(40):
        diary.answers("v1", user, region="AU")
        diary.answers("v1" if user % 2 else "v2", 100 + user, region="DE")
    (found,) = report(diary)["experiments"]
    assert found["srm"]["invalid"] is True
    assert {r: one["invalid"] for r, one in found["srm_by_region"].items()} == {
        "AU": True,
        "DE": False,
    }


def test_a_region_has_its_own_traffic(diary: Diary) -> None:
    diary.obeys(TEST)
    diary.answers("v1", user=1, region="AU")
    diary.answers("v2", user=2, region="NZ")
    diary.answers("v2", user=3, region="DE")
    diary.answers("v2", user=4, region=None)
    everywhere = report(diary)
    assert [(r["region"], r["exposures"]) for r in everywhere["regions"]] == [
        (None, 1),
        ("AU", 1),
        ("DE", 1),
        ("NZ", 1),
    ]
    here = report(diary, hours(0, 24, region="oceania", countries=frozenset({"AU", "NZ", "FJ"})))
    assert (here["exposures"], here["period"]["region"]) == (2, "oceania")
    assert here["epochs"][0]["actual_share"] == 0.5
    assert here["experiments"][0]["srm"]["control"] == 1


def test_a_period_has_its_own_traffic(diary: Diary) -> None:
    diary.obeys(CANARY)
    for minute in (30, 89, 90, 119, 120):
        diary.answers("v1", user=minute, minute=minute)
    found = report(diary, hours(1.5, 2))
    assert found["exposures"] == 2
    assert found["series"] == {
        "slot_ms": MINUTE_MS,
        "points": [
            {"at_ms": START_MS + m * MINUTE_MS, "exposures": 1, "errors": 0, "fallbacks": 0}
            for m in (90, 119)
        ],
    }


def test_what_belongs_to_no_epoch_is_counted(diary: Diary) -> None:
    diary.answers("v1", user=1)
    found = report(diary)
    assert (found["exposures"], found["without_epoch"], found["epochs"]) == (1, 1, [])
    assert found["recording"]["without_epoch"] == 1


def test_a_plan_without_a_version_is_told(diary: Diary) -> None:
    diary.obeys(SINGLE)
    diary.answers(None, user=1, reason="static", label=None, error="not_ready", model_ms=None)
    (group,) = report(diary)["epochs"][0]["groups"]
    assert (group["version"], group["errors"], group["fallbacks"]) == (None, 1, 0)


def test_nothing_is_a_report_too(diary: Diary) -> None:
    found = report(diary)
    assert (found["exposures"], found["errors"], found["fallbacks"]) == (0, 0, 0)
    assert found["epochs"] == found["experiments"] == found["regions"] == []
    assert found["series"]["points"] == []


def test_an_epoch_in_which_nobody_came(diary: Diary) -> None:
    diary.obeys(CANARY)
    (epoch,) = report(diary)["epochs"]
    assert (epoch["exposures"], epoch["actual_share"], epoch["groups"]) == (0, None, [])
