from __future__ import annotations

from typing import Any

import pytest

from serve_app.clock import MINUTE_MS
from serve_app.reports import overview
from serve_app.reports.period import Period
from tests.unit.reports.conftest import CANARY, DAY, SHADOW, START_MS, StoreBuilder, as_json, hours


def make_overview(builder: StoreBuilder, period: Period = DAY) -> dict[str, Any]:
    return as_json(overview.assess(builder.build(), period))


def test_the_traffic_of_each_version_over_time(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    for latency_ms in (10.0, 10.0, 40.0):
        builder.add_exposure("v1", user=1, minute=5, latency_ms=latency_ms)
    builder.add_exposure("v1", user=1, minute=9, latency_ms=20.0)
    builder.add_fallback(user=2, minute=9)
    found = make_overview(builder, hours(0, 1))
    assert found["series"]["slot_ms"] == MINUTE_MS
    assert [
        (
            p["at_ms"],
            p["version"],
            p["exposures"],
            p["errors"],
            p["fallbacks"],
            p["mean_latency_ms"],
        )
        for p in found["series"]["points"]
    ] == [
        (START_MS + 5 * MINUTE_MS, "v1", 3, 0, 0, 20),
        (START_MS + 9 * MINUTE_MS, "v1", 1, 0, 0, 20),
        (START_MS + 9 * MINUTE_MS, "v2", 1, 1, 1, 20),
    ]
    first = found["series"]["points"][0]
    assert first["p50_ms"] == pytest.approx(10, rel=0.03)
    assert first["p95_ms"] == pytest.approx(40, rel=0.03)
    assert [(v["version"], v["exposures"], v["errors"]) for v in found["versions"]] == [
        ("v1", 4, 0),
        ("v2", 1, 1),
    ]
    assert found["versions"][0]["mean_latency_ms"] == 20
    assert found["versions"][0]["p50_ms"] == pytest.approx(10, rel=0.03)


def test_only_the_period_counts(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    builder.add_exposure("v1", user=1, minute=59)
    builder.add_exposure("v2", user=2, minute=60)
    found = make_overview(builder, hours(1, 2))
    assert [v["version"] for v in found["versions"]] == ["v2"]
    assert found["epoch"]["actual_share"] == 1


def test_the_shares_are_those_of_the_present_epoch(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY, weight=0.1)
    builder.add_exposure("v1", user=1)
    builder.adopt_rule(CANARY, minute=10, weight=0.25)
    for user, version in enumerate(("v1", "v2")):
        builder.add_exposure(version, user, minute=11)
    builder.add_exposure("v2", user=3, minute=11, reason="tagged")
    epoch = make_overview(builder)["epoch"]
    assert (epoch["epoch"], epoch["kind"], epoch["experiment"]) == (
        2,
        "canary_parallel",
        "koala-canary",
    )
    assert (epoch["planned_share"], epoch["actual_share"]) == (0.25, 0.5)
    assert (epoch["rule"]["weight"], epoch["warnings"]) == (0.25, [])
    assert epoch["sentence"] == "25 % of users get v2, all others v1"


def test_the_shares_of_a_shadow_are_those_of_copies(builder: StoreBuilder) -> None:
    """Pinned requests are never copied and do not count."""
    builder.adopt_rule(SHADOW, sample=0.5, allow_pin=True)
    builder.add_pair(builder.add_exposure("v1", user=1, reason="static"), "cat")
    builder.add_pair(builder.add_exposure("v1", user=1, reason="static"), None)
    for reason in ("static", "static", "pinned"):
        builder.add_exposure("v1", user=1, reason=reason)
    epoch = make_overview(builder)["epoch"]
    assert (epoch["planned_share"], epoch["actual_share"]) == (0.5, 0.25)
    assert epoch["experiment"] == "shadow-v1-v2"


@pytest.mark.parametrize(
    ("rule", "planned"), [(CANARY, 0.5), (SHADOW, 1), ({"kind": "single", "stable": "v1"}, None)]
)
def test_without_exposures_there_is_no_actual_share(
    builder: StoreBuilder, rule: dict[str, Any], planned: float | None
) -> None:
    builder.adopt_rule(rule)
    found = make_overview(builder)
    assert (found["epoch"]["planned_share"], found["epoch"]["actual_share"]) == (planned, None)
    assert found["versions"] == found["series"]["points"] == []


def test_the_overview_of_an_empty_store(builder: StoreBuilder) -> None:
    assert make_overview(builder)["epoch"] is None
