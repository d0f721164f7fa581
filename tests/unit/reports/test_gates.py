"""What a gate would say of a canary; the statistics are tested in tests/unit/evidence."""

from __future__ import annotations

from typing import Any

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


def make_gate(builder: StoreBuilder, period: Period = DAY) -> dict[str, Any]:
    gate: dict[str, Any] = as_json(assess("canary", builder.build(), period))["gate"]
    return gate


def test_a_candidate_that_fails_is_rolled_back_before_any_unit_is_settled(
    builder: StoreBuilder,
) -> None:
    builder.adopt_rule(CANARY, settle="24h")
    for user in range(20):
        builder.add_exposure("v1", user)
        builder.add_fallback(100 + user)
    gate = make_gate(builder)
    (failures,) = gate["metrics"]
    assert gate["action"] == "roll back"
    assert failures["harm_e_value"] > failures["harm_threshold"] == 50
    assert failures["harm_counts"] == {
        "stable_units": 20,
        "stable_events": 0,
        "candidate_units": 20,
        "candidate_events": 20,
    }
    assert failures["pass_counts"]["candidate_units"] == 0
    assert failures["rates"] == {"stable": None, "candidate": None}


def test_equal_versions_pass_after_a_day(builder: StoreBuilder) -> None:
    """No failures, no slow answers, few complaints; 1,600 users of the candidate."""
    builder.adopt_rule({"kind": "single", "stable": "v1"})
    for _ in range(200):
        builder.add_exposure("v1", None, 0, reason="static", latency_ms=12.0)
    builder.adopt_rule(CANARY, minute=1)
    for user in range(1600):
        for version, offset in (("v1", 0), ("v2", 5000)):
            exposure = builder.add_exposure(version, user + offset, minute=2)
            if user % 40 == 0:
                builder.add_feedback(exposure, complaint=user % 80 == 0)
    gate = make_gate(builder, hours(0, 25))
    assert [metric["metric"] for metric in gate["metrics"]] == ["failures", "slow", "complaints"]
    assert (gate["action"], gate["weight"]) == ("pass", 0.5)
    complaints = gate["metrics"][2]
    assert complaints["pass_counts"]["stable_events"] == 20
    assert complaints["rates"] == {"stable": 0.0125, "candidate": 0.0125}
    assert [metric["margin"] for metric in gate["metrics"]] == [0.01, 0.03, 0.03]


def test_a_gate_holds_with_its_reasons(builder: StoreBuilder) -> None:
    """A step of two hours with 3 users of the candidate, in a report of a part."""
    builder.adopt_rule(CANARY, weight=0.1)
    builder.adopt_rule(CANARY, minute=22 * 60, weight=0.25)
    for user in range(6):
        builder.add_exposure("v2" if user % 2 else "v1", user, minute=22 * 60 + 1)
    gate = make_gate(builder, hours(1, 24))
    reasons = " ".join(gate["reasons"])
    assert gate["action"] == "hold"
    assert "The counts are of a part of the experiment" in reasons
    assert "This step has lasted 2 h of 24 h." in reasons
    assert "The candidate has 3 settled units of this step: 50 are needed." in reasons
    assert gate["metrics"][0]["margin"] == 0.02


def test_without_feedback_complaints_are_not_judged(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    builder.add_exposure("v2", 1)
    assert [metric["metric"] for metric in make_gate(builder)["metrics"]] == ["failures"]


def test_harm_counts_in_the_epoch_of_the_first_assignment_only(builder: StoreBuilder) -> None:
    """User 1 fails on the other side, after a change of the weight, before it is settled."""
    builder.adopt_rule(CANARY, weight=0.1, settle="4h")
    moved = next(users_in(0.1, 0.5))
    builder.add_exposure("v1", moved)
    builder.adopt_rule(CANARY, minute=60, weight=0.5, settle="4h")
    builder.add_fallback(moved, minute=61)
    (failures,) = make_gate(builder)["metrics"]
    assert failures["harm_counts"]["stable_units"] == 1
    assert failures["harm_counts"]["stable_events"] == 0
    assert failures["pass_counts"]["stable_units"] == 0


def test_complaints_count_within_the_settle_time(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    late = builder.add_exposure("v1", 1)
    builder.add_feedback(late, after_s=HOUR_MS / 1000, complaint=True)
    other = builder.add_exposure("v2", 2)
    builder.add_feedback(other, after_s=60, complaint=True)
    builder.add_feedback(builder.add_exposure("v2", None, reason="no_unit"), complaint=True)
    complaints = make_gate(builder)["metrics"][-1]
    assert complaints["harm_counts"]["stable_events"] == 0
    assert complaints["harm_counts"]["candidate_events"] == 1


def test_the_present_step_lasts_from_the_last_change_of_the_weight(builder: StoreBuilder) -> None:
    """Another tolerance begins an epoch of the same weight; the canary ended after five hours."""
    builder.adopt_rule(CANARY, weight=0.1)
    builder.adopt_rule(CANARY, minute=60)
    builder.adopt_rule(CANARY, minute=120, tolerances={"failures": 0.02})
    builder.adopt_rule({"kind": "single", "stable": "v1"}, minute=300)
    reasons = make_gate(builder, Period(START_MS, START_MS + 20 * HOUR_MS))["reasons"]
    assert "This step has lasted 4 h of 24 h." in reasons
