"""Whatever came, a report is JSON and its counts add up."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.domain import Reason
from serve_app.errors import NothingToReport
from serve_app.reports import ab_test, canary, shadow, traffic
from serve_app.reports.period import Period
from serve_app.store.store import Store, open_store
from tests.unit.reports.conftest import (
    CANARY,
    DAY,
    SHADOW,
    TEST,
    Diary,
    as_json,
    hours,
    labels,
)

OUTCOME = st.builds(
    lambda metric, direction: {"metric": metric, "direction": direction},
    st.sampled_from(["complaint", "correct", "rating"]),
    st.sampled_from(["decrease", "increase"]),
)
WEIGHT = st.sampled_from([0.0, 0.1, 0.5])
RULES = st.one_of(
    st.builds(lambda w: CANARY | {"weight": w}, WEIGHT),
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
ANSWERS = st.fixed_dictionaries(
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
WORDS = st.fixed_dictionaries(
    {
        "after_s": st.sampled_from([0, 60, 10**7]),
        "label": LABELS,
        "correct": st.none() | st.booleans(),
        "complaint": st.none() | st.booleans(),
        "rating": st.none() | st.integers(1, 5),
    }
)
COPIES = st.fixed_dictionaries({"label": LABELS, "probability": st.sampled_from([0.01, 1.0])})
ENTRIES = st.one_of(
    st.tuples(st.just("obeys"), RULES, st.integers(0, 1440)),
    st.tuples(ANSWERS, st.none() | WORDS, st.none() | COPIES),
)
PERIODS = (
    DAY,
    hours(0, 1),
    hours(0, 24, region="oceania", countries=frozenset({"AU", "NZ"})),
    hours(30, 31),
)


def keep(diary: Diary, entries: list[Any]) -> Store:
    for entry in entries:
        if entry[0] == "obeys":
            diary.obeys(entry[1], entry[2])
            continue
        told, word, copy = entry
        answer = diary.answers(**told)
        if word:
            diary.hears(answer, **word)
        if copy:
            diary.copies(answer, **copy)
    return diary.store()


def all_reports(store: Store, period: Period) -> dict[str, dict[str, Any]]:
    found = {"traffic": as_json(traffic.report(store, period))}
    others: dict[str, Callable[[], dict[str, Any]]] = {
        "canary": lambda: canary.report(store, period, labels, None),
        "ab": lambda: ab_test.report(store, period, labels, None),
        "shadow": lambda: shadow.report(store, period, labels),
    }
    for name, make in others.items():
        try:
            found[name] = as_json(make())
        except NothingToReport:
            kinds = {epoch["kind"] for epoch in found["traffic"]["epochs"]}
            assert not any(name in kind for kind in kinds)
    return found


@settings(max_examples=10)
@given(st.lists(ENTRIES, max_size=30))
def test_it_is_reported(entries: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/store.db")
        keep(Diary(store), [("obeys", CANARY, 0), ("obeys", TEST, 0), ("obeys", SHADOW, 0)])
        keep(Diary(store), entries)
        for period in PERIODS:
            found = all_reports(store, period)
            everything = found["traffic"]
            within = sum(epoch["exposures"] for epoch in everything["epochs"])
            assert everything["exposures"] >= within
            assert everything["exposures"] == sum(r["exposures"] for r in everything["regions"])
            assert everything["exposures"] == sum(
                point["exposures"] for point in everything["series"]["points"]
            )
        store.close()


@pytest.mark.parametrize("rule", [CANARY, TEST, SHADOW], ids=lambda rule: rule["kind"])
def test_there_is_something_to_report(diary: Diary, rule: dict[str, Any]) -> None:
    diary.obeys(rule)
    assert len(all_reports(diary.store(), DAY)) == 2
