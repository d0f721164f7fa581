from __future__ import annotations

import random
from typing import Any

import pytest

from serve_app.clock import HOUR_MS
from serve_app.reports.period import Period
from tests.unit.reports.conftest import (
    CANARY,
    DAY,
    START_MS,
    StoreBuilder,
    as_json,
    assess,
    hours,
    users_in,
)

FAILURES, LATENCY, MODEL = range(3)
EXPOSURES, RETURNS, SLOW = range(3)


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


def test_latency_is_a_mean_of_units(builder: StoreBuilder) -> None:
    """v1: 10, 14 and (20 + 40) / 2 ms; v2: 20 and 26 ms."""
    builder.adopt_rule(CANARY)
    for user, latency_ms in ((1, 10.0), (2, 14.0), (3, 20.0), (3, 40.0)):
        builder.add_exposure("v1", user, latency_ms=latency_ms, model_ms=latency_ms / 2)
    for user, latency_ms in ((4, 20.0), (5, 26.0)):
        builder.add_exposure("v2", user, latency_ms=latency_ms, model_ms=latency_ms / 2)
    report = make_report(builder)
    latency, model = report["measures"][LATENCY], report["measures"][MODEL]
    assert (latency["stable"], latency["candidate"], latency["difference"]) == (18, 23, 5)
    assert (model["stable"], model["candidate"], model["unit"]) == (9, 11.5, "ms")
    assert latency["units"] == {"stable": 3, "candidate": 2}
    assert latency["tolerance"] == pytest.approx(1.8)  # a tenth of stable's mean
    low, high = latency["interval"]
    assert low < 5 < high
    assert (report["arms"], report["stable"], report["candidate"]) == (
        ["stable", "candidate"],
        "v1",
        "v2",
    )
    assert report["finding"] == "keep going"


def test_the_tolerances_are_those_of_the_rule(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY, tolerances={"failures": 0.05, "latency": 0.5})
    add_users(builder, range(3), range(10, 12))
    failures, latency, model = make_report(builder)["measures"]
    assert (failures["tolerance"], latency["tolerance"], model["tolerance"]) == (0.05, 5, 2)


def test_a_fallback_counts_against_the_assigned_version(builder: StoreBuilder) -> None:
    """v2 fails every request, and stable serves all of them, so v2 has no model time."""
    builder.adopt_rule(CANARY)
    for user in range(300):
        builder.add_exposure("v1", user)
        builder.add_fallback(1000 + user)
    report = make_report(builder)
    failures, _, model = report["measures"]
    assert (failures["stable"], failures["candidate"], failures["finding"]) == (0, 1, "worse")
    assert report["finding"] == "worse"
    assert report["sentence"].startswith("candidate is worse: units with a failure: 100.0 %")
    assert (model["stable"], model["candidate"], model["finding"]) == (4, None, "not known")
    assert model["sentence"].startswith("no settled unit of candidate has a value")
    assert "4.0 ms in stable" in model["sentence"]
    assert "nan" not in str(report)


def test_a_unit_with_many_failures_counts_once(builder: StoreBuilder) -> None:
    """A user of v1 with a broken camera fails eight times; answers describe that."""
    builder.adopt_rule(CANARY)
    add_users(builder, range(4), range(10, 14))
    for _ in range(8):
        builder.add_exposure("v1", 1, minute=2, served=None, label=None, error="unreadable")
    builder.add_fallback(11, minute=2)
    report = make_report(builder)
    failures = report["measures"][FAILURES]
    assert (failures["stable"], failures["candidate"]) == (0.25, 0.25)
    assert [
        (a["version"], a["exposures"], a["errors"], a["fallbacks"], a["error_codes"])
        for a in report["answers"]
    ] == [("v1", 12, 8, 0, {"unreadable": 8}), ("v2", 5, 1, 1, {"too_slow": 1})]
    assert report["answers"][1]["mean_latency_ms"] == 12


def test_a_candidate_whose_failures_drive_users_away_is_not_better(builder: StoreBuilder) -> None:
    """v1's user with a broken camera tries eight times; v2 fails 1.5 times as many users, and they
    leave. By exposure v2 fails less often."""
    chance = random.Random(1)  # noqa: S311
    builder.adopt_rule(CANARY)
    for user in range(1000):
        version, harm = ("v2", 1.5) if user % 2 else ("v1", 1.0)
        is_failing = chance.random() < 0.1 * harm
        tries = 8 if is_failing and version == "v1" else 1 if is_failing else 4
        for number in range(tries):
            failed = {"served": None, "label": None, "error": "internal"} if is_failing else {}
            builder.add_exposure(version, user, minute=1 + number, **failed)
    report = make_report(builder)
    failures, exposures = report["measures"][FAILURES], report["guardrails"][EXPOSURES]
    stable, candidate = (answers["errors"] / answers["exposures"] for answers in report["answers"])
    assert candidate < stable / 2
    assert failures["candidate"] > failures["stable"]
    assert failures["finding"] in ("worse", "keep going")
    assert report["finding"] != "better"
    assert exposures["difference"] < 0
    assert exposures["interval"][1] < 0  # the guardrail shows that they leave


def test_only_the_settle_time_of_a_unit_counts(builder: StoreBuilder) -> None:
    """Failures after an hour do not count, nor do users of the last hour."""
    builder.adopt_rule(CANARY)
    add_users(builder, range(3), range(10, 12))
    builder.add_fallback(11, minute=90)
    add_users(builder, range(20, 25), range(30, 32), minute=23 * 60 + 30)
    report = make_report(builder)
    assert report["measures"][FAILURES]["candidate"] == 0
    assert report["settling"] == {
        "settle_ms": HOUR_MS,
        "settled": {"stable": 3, "candidate": 2},
        "settling": 7,
        "changed_sides": 0,
    }
    returns = report["guardrails"][RETURNS]
    assert (returns["stable"], returns["candidate"]) == (0, 0.5)
    assert report["srm"] == report["srm"] | {"stable": 8, "candidate": 4}


def test_units_that_changed_sides_are_left_out(builder: StoreBuilder) -> None:
    """Whether they came back or not: those with a bucket from 0.1 to 0.5 that are not settled."""
    builder.adopt_rule(CANARY, weight=0.1)
    moved, kept, treated = users_in(0.1, 0.5), users_in(0.5, 1.0), users_in(0.0, 0.1)
    early = [next(moved) for _ in range(3)]
    for user in early:
        builder.add_exposure("v1", user, minute=1)
    for user in [next(moved) for _ in range(4)]:
        builder.add_exposure("v1", user, minute=110)
    for _ in range(5):
        builder.add_exposure("v1", next(kept), minute=110)
        builder.add_exposure("v2", next(treated), minute=110)
    builder.adopt_rule(CANARY, minute=120, weight=0.5)
    report = make_report(builder)
    assert report["settling"]["settled"] == {"stable": 8, "candidate": 5}
    assert report["settling"]["changed_sides"] == 4
    (epoch,) = report["by_epoch"]
    assert (epoch["epoch"], epoch["weight"]) == (1, 0.1)
    # Those of the first hour have another weight, and no unit to be compared with.
    assert (epoch["units"], epoch["units_excluded"]) == ({"stable": 5, "candidate": 5}, 3)


def test_a_part_of_the_experiment_gives_no_verdict(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    for user in range(300):
        builder.add_exposure("v1", user, minute=70)
        builder.add_fallback(1000 + user, minute=70)
    builder.build()
    assert make_report(builder, hours(0, 24))["finding"] == "worse"
    report = make_report(builder, hours(1, 24))
    assert report["covers_experiment"] is False
    assert report["measures"][FAILURES]["difference"] == 1
    findings = {report["finding"], *(measure["finding"] for measure in report["measures"])}
    assert findings == {"not known"}
    assert report["sentence"].startswith("Not known: this report covers only a part of")


def test_a_fallback_prediction_is_not_a_prediction_of_the_candidate(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    builder.add_exposure("v1", user=1, label="dog", confidence=0.5)
    builder.add_exposure("v2", user=2, label="koala", confidence=0.875)
    builder.add_fallback(user=3, label="dog", confidence=0.5)
    report = make_report(builder)
    assert report["classes"]["counts"] == {"v1": {"dog": 1}, "v2": {"koala": 1}}
    assert report["classes"]["shared"] == ["cat", "dog"]
    assert report["confidence"] == {"stable": 0.5, "candidate": 0.875, "difference": 0.375}


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
    assert report["measures"][FAILURES]["units"] == {"stable": 3, "candidate": 3}
    assert [measure["difference"] for measure in report["measures"]] == [0, 0, 0]
    assert (report["srm"]["stable"], report["srm"]["candidate"]) == (3, 3)
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


def test_failures_that_never_happen_have_an_interval(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    add_users(builder, range(5000), range(5000, 10000))
    failures = make_report(builder)["measures"][FAILURES]
    low, high = failures["interval"]
    assert -0.01 < low < 0 < high < 0.01
    assert failures["finding"] == "no difference"


@pytest.mark.parametrize("failing", [2, 5])
def test_an_interval_of_shares_stays_possible(builder: StoreBuilder, failing: int) -> None:
    """All of v2's few users fail."""
    builder.adopt_rule(CANARY)
    for user in range(failing):
        builder.add_exposure("v1", user)
        builder.add_fallback(1000 + user)
    failures = make_report(builder)["measures"][FAILURES]
    assert -1 <= failures["interval"][0] <= failures["interval"][1] <= 1


def test_one_unit_of_the_candidate_is_named(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY, weight=0.01)
    for user in range(500):
        builder.add_exposure("v1", user, latency_ms=10.0 + user % 5)
    builder.add_exposure("v2", 1000)
    latency = make_report(builder)["measures"][LATENCY]
    assert latency["finding"] == "not known"
    assert latency["sentence"].startswith("only one settled unit of candidate has a value")


def test_a_keep_going_says_how_many_more_units(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    add_users(builder, range(100), range(1000, 1100))
    sentence = make_report(builder)["measures"][FAILURES]["sentence"]
    assert "more settled units decide it at the present figures, about " in sentence
    assert sentence.endswith("at 200 a day.")


class TestSlowAnswers:
    def test_the_limit_is_the_p95_of_stable_on_the_day_before(self, builder: StoreBuilder) -> None:
        """5 % of stable's answers took 80 ms; half of v2's first answers take 100 ms, and one of
        v2's users waits for ten times the limit."""
        builder.adopt_rule({"kind": "single", "stable": "v1"})
        for number in range(200):
            latency_ms = 80.0 if number % 20 < 2 else 10.0
            builder.add_exposure("v1", None, 10, reason="static", latency_ms=latency_ms)
        builder.adopt_rule(CANARY, minute=60)
        add_users(builder, range(20), range(100, 110), minute=61)
        add_users(builder, range(0), range(110, 120), minute=61, latency_ms=100.0)
        builder.add_exposure("v2", 100, 62, latency_ms=900.0)
        report = make_report(builder)
        limit = report["slow_limit"]
        assert limit["slow_ms"] == pytest.approx(80, rel=0.03)
        assert limit["hung_ms"] == pytest.approx(10 * limit["slow_ms"])
        assert limit["source"] == "the p95 of v1 in the 24 h before the experiment"
        slow = report["guardrails"][SLOW]
        assert (slow["stable"], slow["candidate"]) == (0, 0.5)
        assert report["measures"][FAILURES]["candidate"] == 0.05

    def test_without_a_day_before_the_limit_is_that_of_the_beginning(
        self, builder: StoreBuilder
    ) -> None:
        """Only units that were assigned later are judged by it."""
        builder.adopt_rule(CANARY)
        for user in range(100):
            builder.add_exposure("v1", user, latency_ms=10.0)
        add_users(builder, range(200, 210), range(300, 305), minute=61, latency_ms=20.0)
        report = make_report(builder)
        assert report["slow_limit"]["source"] == "the p95 of v1 in the beginning of the experiment"
        slow = report["guardrails"][SLOW]
        assert slow["units"] == {"stable": 10, "candidate": 5}
        assert slow["stable"] == slow["candidate"] == 1

    def test_too_few_answers_give_no_limit(self, builder: StoreBuilder) -> None:
        builder.adopt_rule(CANARY)
        add_users(builder, range(20), range(100, 105))
        report = make_report(builder)
        assert report["slow_limit"] is None
        assert len(report["guardrails"]) == 2


def test_a_report_can_be_limited_to_a_region(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    add_users(builder, range(12), range(20, 32), region="AU")
    add_users(builder, range(40, 52), range(60, 72), region="DE")
    for user in range(20, 26):
        builder.add_fallback(user, minute=2, region="AU")  # 6 of 12 users
    all_regions = make_report(builder)
    assert [(r["region"], r["candidate"]) for r in all_regions["regions"]] == [
        ("AU", 0.5),
        ("DE", 0),
    ]
    assert [(e["epoch"], e["weight"]) for e in all_regions["by_epoch"]] == [(1, 0.5)]
    one_region = make_report(builder, hours(0, 24, region="DE", countries=frozenset({"DE"})))
    assert one_region["latency_ms"] == {
        "v1": None,
        "v2": None,
    }  # the store has no latencies by region
    assert one_region["measures"][FAILURES]["units"] == {"stable": 12, "candidate": 12}
    assert one_region["measures"][FAILURES]["candidate"] == 0
    assert [r["region"] for r in one_region["regions"]] == ["DE"]
    assert one_region["classes"]["counts"] == {"v1": {"cat": 12}, "v2": {"cat": 12}}


def test_before_units_are_settled_the_report_says_when(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY, settle="24h")
    add_users(builder, range(3), range(10, 12), minute=60)
    report = make_report(builder, hours(0, 3))
    assert (report["finding"], report["settling"]["settling"]) == ("not known", 5)
    assert report["sentence"] == "0 of 5 units are settled (1 day old); the first is in 22 hours."


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


@pytest.mark.parametrize("exposures", [0, 1])
def test_a_report_with_hardly_any_units_is_not_known(builder: StoreBuilder, exposures: int) -> None:
    builder.adopt_rule(CANARY)
    add_users(builder, range(exposures), range(10, 10 + exposures))
    report = make_report(builder)
    assert {measure["finding"] for measure in report["measures"][LATENCY:]} == {"not known"}
    assert report["finding"] in ("not known", "keep going")
    assert report["classes"]["drift"] is (None if not exposures else False)


def test_incomplete_recording_is_a_warning(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    add_users(builder, range(48), range(50, 98))
    builder.skip_sequences(4)
    report = make_report(builder)
    assert report["warnings"] == ["Recording is incomplete: 4 of 100 answers are missing."]
    assert any("4 % of the exposures were not recorded" in r for r in report["gate"]["reasons"])


def test_the_period_before_the_experiment_is_not_measured(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    report = make_report(builder, Period(START_MS, START_MS + HOUR_MS // 60))
    assert report["settling"]["settled"] == {"stable": 0, "candidate": 0}
    assert report["finding"] == "not known"
