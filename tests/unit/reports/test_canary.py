from __future__ import annotations

from typing import Any

import pytest

from serve_app.reports.period import Period
from tests.unit.reports.conftest import CANARY, DAY, START_MS, StoreBuilder, as_json, assess, hours

ERRORS, LATENCY, MODEL = range(3)


def make_report(
    builder: StoreBuilder, period: Period = DAY, name: str | None = None
) -> dict[str, Any]:
    return as_json(assess("canary", builder.build(), period, name))


def add_users(builder: StoreBuilder, control: range, treatment: range, **changes: Any) -> None:
    """One exposure per user, in both arms."""
    for user in control:
        builder.add_exposure("v1", user, **changes)
    for user in treatment:
        builder.add_exposure("v2", user, **changes)


def test_latency_is_a_ratio_by_unit(builder: StoreBuilder) -> None:
    """v1: 10 and 14 ms for one request each, 20 ms for two requests: (10 + 14 + 2 * 20) / 4."""
    builder.adopt_rule(CANARY)
    for user, latency_ms in ((1, 10.0), (2, 14.0), (3, 20.0), (3, 20.0)):
        builder.add_exposure("v1", user, latency_ms=latency_ms, model_ms=latency_ms / 2)
    for user, latency_ms in ((4, 20.0), (5, 26.0)):
        builder.add_exposure("v2", user, latency_ms=latency_ms, model_ms=latency_ms / 2)
    report = make_report(builder)
    latency, model = report["measures"][LATENCY], report["measures"][MODEL]
    assert (latency["control"], latency["treatment"], latency["difference"]) == (16, 23, 7)
    assert (model["control"], model["treatment"], model["unit"]) == (8, 11.5, "ms")
    assert latency["units"] == {"control": 3, "treatment": 2}
    assert latency["min_effect"] == pytest.approx(1.6)  # a tenth of stable's mean
    low, high = latency["interval"]
    assert low < 7 < high
    assert report["finding"] == "keep going"


def test_a_fallback_counts_against_the_assigned_version(builder: StoreBuilder) -> None:
    """v2 fails every request, and stable serves all of them."""
    builder.adopt_rule(CANARY)
    for user in range(300):
        builder.add_exposure("v1", user)
        builder.add_fallback(1000 + user)
    report = make_report(builder)
    errors = report["measures"][ERRORS]
    assert (errors["control"], errors["treatment"], errors["finding"]) == (0, 1, "worse")
    assert report["finding"] == "worse"
    assert "error rate" in report["sentence"]


def test_a_fallback_prediction_is_not_a_prediction_of_the_candidate(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    builder.add_exposure("v1", user=1, label="dog", confidence=0.5)
    builder.add_exposure("v2", user=2, label="koala", confidence=0.875)
    builder.add_fallback(user=3, label="dog", confidence=0.5)
    report = make_report(builder)
    assert report["classes"]["counts"] == {"v1": {"dog": 1}, "v2": {"koala": 1}}
    assert report["classes"]["shared"] == ["cat", "dog"]
    assert report["confidence"] == {"v1": 0.5, "v2": 0.875}


def test_only_exposures_with_reason_split_are_compared(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY, allow_pin=True)
    add_users(builder, range(3), range(10, 13))
    failed: dict[str, Any] = {"served": None, "label": None, "error": "internal"}
    builder.add_exposure("v2", user=20, reason="tagged", label="koala", latency_ms=999.0)
    builder.add_exposure("v2", user=21, reason="pinned", **failed)
    builder.add_exposure("v1", user=None, reason="no_unit", **failed)
    builder.add_exposure("v1", user=22, reason="not_ready", **failed)
    builder.add_exposure("v1", user=23, reason="not_targeted", **failed)
    report = make_report(builder)
    assert report["measures"][ERRORS]["units"] == {"control": 3, "treatment": 3}
    assert [measure["difference"] for measure in report["measures"]] == [0, 0, 0]
    assert (report["srm"]["control"], report["srm"]["treatment"]) == (3, 3)
    assert report["classes"]["counts"] == {"v1": {"cat": 3}, "v2": {"cat": 3}}
    assert report["latency_ms"]["v2"]["p99"] == pytest.approx(10, rel=0.026)
    assert [
        (r["version"], r["reason"], r["exposures"], r["errors"]) for r in report["reasons"]
    ] == [
        ("v1", "no_unit", 1, 1),
        ("v1", "not_ready", 1, 1),
        ("v1", "not_targeted", 1, 1),
        ("v1", "split", 3, 0),
        ("v2", "pinned", 1, 1),
        ("v2", "split", 3, 0),
        ("v2", "tagged", 1, 0),
    ]
    assert sum(point["exposures"] for point in report["series"]["points"]) == 6


def test_an_error_rate_of_zero_has_an_interval(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    add_users(builder, range(2000), range(5000, 7000))
    errors = make_report(builder)["measures"][ERRORS]
    low, high = errors["interval"]
    assert -0.01 < low < 0 < high < 0.01
    assert errors["finding"] == "no difference"


def test_measures_cover_whole_days(builder: StoreBuilder) -> None:
    """The sums of a unit are stored by day."""
    builder.adopt_rule(CANARY)
    add_users(builder, range(3), range(10, 12), minute=5)
    report = make_report(builder, hours(0, 2))
    assert report["measures"][ERRORS]["units"] == {"control": 3, "treatment": 2}
    assert report["measured_period"] == {"since_ms": START_MS, "until_ms": DAY.until_ms}


def test_a_report_can_be_limited_to_a_region(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    add_users(builder, range(12), range(20, 32), region="AU")
    add_users(builder, range(40, 52), range(60, 72), region="DE")
    for user in range(20, 26):
        builder.add_fallback(user, minute=2, region="AU")  # 6 of 18 fail
    all_regions = make_report(builder)
    assert [(r["region"], r["treatment"]) for r in all_regions["regions"]] == [
        ("AU", pytest.approx(1 / 3)),
        ("DE", 0),
    ]
    assert [(e["epoch"], e["weight"]) for e in all_regions["by_epoch"]] == [(1, 0.5)]
    one_region = make_report(builder, hours(0, 24, region="DE", countries=frozenset({"DE"})))
    assert one_region["latency_ms"] == {
        "v1": None,
        "v2": None,
    }  # the store has no latencies by region
    assert one_region["measures"][ERRORS]["units"] == {"control": 12, "treatment": 12}
    assert one_region["measures"][ERRORS]["treatment"] == 0
    assert [r["region"] for r in one_region["regions"]] == ["DE"]
    assert one_region["classes"]["counts"] == {"v1": {"cat": 12}, "v2": {"cat": 12}}


def test_an_srm_makes_the_report_invalid(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    add_users(builder, range(60), range(100, 110))
    report = make_report(builder)
    assert report["finding"] == "invalid: SRM"
    assert {measure["finding"] for measure in report["measures"]} == {"invalid: SRM"}


def test_latency_quantiles_balance_the_hours(builder: StoreBuilder) -> None:
    """In the first epoch, half of both versions' exposures take 80 ms; later all take 10 ms."""
    builder.adopt_rule(CANARY, weight=0.1)
    for user in range(90):
        builder.add_exposure("v1", user, latency_ms=80.0 if user % 2 else 10.0, model_ms=5.0)
    for user in range(10):
        builder.add_exposure("v2", 1000 + user, latency_ms=80.0 if user % 2 else 10.0, model_ms=5.0)
    builder.adopt_rule(CANARY, minute=120, weight=0.5)
    for user in range(90):
        builder.add_exposure("v1", 2000 + user, 121, latency_ms=10.0)
        builder.add_exposure("v2", 3000 + user, 121, latency_ms=10.0)
    builder.add_exposure("v1", 4000, 600, latency_ms=999.0)  # an hour without v2
    latency_ms = make_report(builder)["latency_ms"]
    assert latency_ms["v1"] == latency_ms["v2"]
    assert latency_ms["v1"]["p95"] == pytest.approx(10, rel=0.03)
    assert latency_ms["v1"]["p99"] == pytest.approx(80, rel=0.03)


def test_different_label_shares_are_drift(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    for user in range(100):
        builder.add_exposure("v1", user, label="cat" if user % 2 else "dog")
        builder.add_exposure("v2", 1000 + user, label="cat" if user % 10 else "dog")
    classes = make_report(builder)["classes"]
    assert classes["counts"] == {"v1": {"cat": 50, "dog": 50}, "v2": {"cat": 90, "dog": 10}}
    assert classes["drift"] is True


def test_correlated_images_of_one_user_are_not_drift(builder: StoreBuilder) -> None:
    """One user per version sends a hundred images of one pet."""
    builder.adopt_rule(CANARY)
    for _ in range(100):
        builder.add_exposure("v1", 1, label="cat")
        builder.add_exposure("v2", 2, label="dog")
    assert make_report(builder)["classes"]["drift"] is False


@pytest.mark.parametrize("exposures", [0, 1])
def test_a_report_with_hardly_any_units_is_not_known(builder: StoreBuilder, exposures: int) -> None:
    builder.adopt_rule(CANARY)
    add_users(builder, range(exposures), range(10, 10 + exposures))
    report = make_report(builder)
    assert {measure["finding"] for measure in report["measures"][LATENCY:]} == {"not known"}
    assert report["finding"] in ("not known", "keep going")
    assert report["classes"]["drift"] is (None if not exposures else False)
