"""For random traffic, reports are valid JSON and their counts add up."""

from __future__ import annotations

import tempfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.errors import NothingToReport
from serve_app.reports import overview, traffic
from serve_app.reports.period import Period
from serve_app.rules.plan import Reason
from serve_app.store.store import Store, open_store
from tests.unit.reports.conftest import (
    CANARY,
    DAY,
    SHADOW,
    TEST,
    StoreBuilder,
    as_json,
    assess,
    hours,
)

pytestmark = pytest.mark.slow

OUTCOME = st.builds(
    lambda metric, direction: {"metric": metric, "direction": direction},
    st.sampled_from(["complaint", "correct", "rating"]),
    st.sampled_from(["decrease", "increase"]),
)
WEIGHT = st.sampled_from([0.0, 0.1, 0.5])
RULES = st.one_of(
    st.builds(
        lambda w, settle: CANARY | {"weight": w, "settle": settle},
        WEIGHT,
        st.sampled_from(["10s", "1h", "24h"]),
    ),
    st.builds(
        lambda w, unit, outcome: (
            TEST | {"weight": w, "unit": unit, "experiment": f"by-{unit}", "outcome": outcome}
        ),
        st.sampled_from([0.0, 0.5, 1.0]),
        st.sampled_from(["request", "session", "user"]),
        OUTCOME,
    ),
    st.just(SHADOW),
    st.just({"kind": "single", "stable": "v1"}),
)
VERSIONS = st.sampled_from(["v1", "v2", "v3", None])
LABELS = st.sampled_from(["cat", "dog", "koala", "wombat", None])
MS = st.sampled_from([0.0, 0.01, 12.5, 1e5])
HASHES = st.sampled_from([None, *(f"{number:016x}" * 2 for number in range(6))])
EXPOSURES = st.fixed_dictionaries(
    {
        "assigned": VERSIONS,
        "user": st.none() | st.integers(1, 6),
        "minute": st.sampled_from([-1, 0, 5, 59, 61, 1439, 1441]),
        "served": VERSIONS,
        "session": HASHES,
        "region": st.sampled_from(["AU", "NZ", "DE", None]),
        "reason": st.sampled_from([reason.value for reason in Reason] + ["split"] * 10),
        "label": LABELS,
        "confidence": st.sampled_from([None, 0.0, 1.0]),
        "latency_ms": MS,
        "model_ms": st.none() | MS,
        "error": st.sampled_from([None, None, "too_slow"]),
    }
)
FEEDBACK = st.fixed_dictionaries(
    {
        "after_s": st.sampled_from([0, 60, 10**7]),
        "label": LABELS,
        "correct": st.none() | st.booleans(),
        "complaint": st.none() | st.booleans(),
        "rating": st.none() | st.integers(1, 5),
    }
)
PAIRS = st.fixed_dictionaries({"label": LABELS, "probability": st.sampled_from([0.01, 1.0])})
ENTRIES = st.one_of(
    st.tuples(st.just("adopt_rule"), RULES, st.integers(0, 1440)),
    st.tuples(EXPOSURES, st.none() | FEEDBACK, st.none() | PAIRS),
)
PERIODS = (
    DAY,
    hours(0, 1),
    hours(0, 24, region="oceania", countries=frozenset({"AU", "NZ"})),
    hours(30, 31),
)


def add_entries(builder: StoreBuilder, entries: list[Any]) -> Store:
    for entry in entries:
        if entry[0] == "adopt_rule":
            builder.adopt_rule(entry[1], entry[2])
            continue
        exposure_fields, feedback_fields, pair_fields = entry
        exposure = builder.add_exposure(**exposure_fields)
        if feedback_fields:
            builder.add_feedback(exposure, **feedback_fields)
        if pair_fields:
            builder.add_pair(exposure, **pair_fields)
    return builder.build()


def make_reports(store: Store, period: Period) -> dict[str, dict[str, Any]]:
    reports = {"traffic": as_json(traffic.assess(store, period))}
    for name in ("canary", "ab", "shadow"):
        try:
            reports[name] = as_json(assess(name, store, period))
        except NothingToReport:
            kinds = {epoch["kind"] for epoch in reports["traffic"]["epochs"]}
            assert not any(name in kind for kind in kinds)
    return reports


@settings(max_examples=10)
@given(st.lists(ENTRIES, max_size=30))
def test_reports_of_random_traffic_add_up(entries: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/store.db")
        add_entries(
            StoreBuilder(store),
            [("adopt_rule", CANARY, 0), ("adopt_rule", TEST, 0), ("adopt_rule", SHADOW, 0)],
        )
        add_entries(StoreBuilder(store), entries)
        for period in PERIODS:
            reports = make_reports(store, period)
            report = reports["traffic"]
            if canary := reports.get("canary"):
                settling, srm = canary["settling"], canary["srm"]
                units = sum(settling["settled"].values()) + settling["settling"]
                assert units + settling["changed_sides"] == srm["stable"] + srm["candidate"]
                assert " nan" not in str(canary)
            points = report["series"]["points"]
            assert report["exposures"] >= sum(epoch["exposures"] for epoch in report["epochs"])
            assert report["exposures"] == sum(region["exposures"] for region in report["regions"])
            assert report["exposures"] == sum(point["exposures"] for point in points)
        at_a_glance = as_json(overview.assess(store, DAY))
        exposures = traffic.assess(store, DAY).counts.exposures
        for parts in (at_a_glance["versions"], at_a_glance["series"]["points"]):
            assert exposures == sum(part["exposures"] for part in parts)
        store.close()


@pytest.mark.parametrize("rule", [CANARY, TEST, SHADOW], ids=lambda rule: rule["kind"])
def test_a_rule_without_traffic_has_a_report(builder: StoreBuilder, rule: dict[str, Any]) -> None:
    builder.adopt_rule(rule)
    assert len(make_reports(builder.build(), DAY)) == 2
