from __future__ import annotations

from typing import Any

import pytest

from serve_app.clock import DAY_MS, HOUR_MS
from serve_app.errors import NoSuchVersion
from serve_app.reports import summaries
from serve_app.reports.assessment import EXPERIMENT_REPORTS
from serve_app.reports.summaries import Summaries
from serve_app.store.store import Store
from tests.unit.reports.conftest import (
    CANARY,
    SHADOW,
    START_MS,
    TEST,
    StoreBuilder,
    as_json,
    labels,
)

NOW_MS = START_MS + DAY_MS


def summarize(store: Store, now_ms: int = NOW_MS, of: Summaries | None = None) -> list[Any]:
    return [as_json(one) for one in (of or Summaries()).summarize(store, labels, now_ms)]


def add_users(builder: StoreBuilder, control: range, treatment: range, minute: int) -> None:
    for user in control:
        builder.add_exposure("v1", user, minute)
    for user in treatment:
        builder.add_exposure("v2", user, minute)


def test_experiments_are_listed_newest_first(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY, weight=0.05)
    add_users(builder, range(19), range(20, 21), minute=1)
    builder.adopt_rule(CANARY, minute=60, weight=0.5)
    builder.adopt_rule(TEST, minute=120, unit="request", weight=0.5)
    add_users(builder, range(4), range(4), minute=121)
    builder.adopt_rule(SHADOW, minute=180, sample=0.5)
    builder.add_pair(builder.add_exposure("v1", 1, 181, reason="static"), "cat")
    builder.add_exposure("v1", 1, 181, reason="static")
    shadow, test, canary = summarize(builder.build())
    assert canary == {
        "name": "koala-canary",
        "kind": "canary_parallel",
        "report": "canary",
        "unit": "user",
        "arms": [
            {"arm": "stable", "version": "v1", "units": 19},
            {"arm": "candidate", "version": "v2", "units": 1},
        ],
        "shares": [0.05, 0.5],
        "from_ms": START_MS,
        "to_ms": START_MS + 2 * HOUR_MS,
        "finding": "keep going",
        "sentence": canary["sentence"],
    }
    assert canary["sentence"].startswith(
        "not decided yet: units with a failure: 0.0 % in candidate"
    )
    assert [(a["arm"], a["units"]) for a in test["arms"]] == [("control", 4), ("treatment", 4)]
    assert (test["report"], test["unit"], test["shares"]) == ("ab", "request", [0.5])
    assert [(a["arm"], a["units"]) for a in shadow["arms"]] == [("stable", 2), ("candidate", 1)]
    assert (shadow["name"], shadow["unit"], shadow["shares"]) == ("shadow-v1-v2", "image", [0.5])
    assert (shadow["finding"], shadow["to_ms"]) == ("not known", None)


def test_an_experiment_that_cannot_be_assessed_says_why(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    builder.adopt_rule(SHADOW, minute=60)

    def forget_v2(version: str) -> tuple[str, ...]:
        if version == "v2":
            raise NoSuchVersion("there is no version 'v2'")
        return labels(version)

    found = list(Summaries().summarize(builder.build(), forget_v2, NOW_MS))
    assert [(one.name, one.finding, one.sentence) for one in found] == [
        ("shadow-v1-v2", None, "there is no version 'v2'"),
        ("koala-canary", None, "there is no version 'v2'"),
    ]
    assert [arm.units for one in found for arm in one.arms] == [None] * 4


def test_only_experiments_that_try_a_version_are_summarized(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    builder.adopt_rule(SHADOW, minute=60, candidate="v3")
    found = Summaries().summarize(builder.build(), labels, NOW_MS, treatment="v2")
    assert [one.name for one in found] == ["koala-canary"]


class TestCache:
    @pytest.fixture
    def assessed(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The experiments that were assessed, in order."""
        names: list[str] = []

        def record(report: str) -> Any:
            assess = EXPERIMENT_REPORTS[report]

            def assess_and_record(store: Any, period: Any, labels: Any, experiment: Any) -> Any:
                names.append(experiment.name)
                return assess(store, period, labels, experiment)

            return assess_and_record

        recording = {report: record(report) for report in EXPERIMENT_REPORTS}
        monkeypatch.setattr(summaries, "EXPERIMENT_REPORTS", recording)
        return names

    def test_an_experiment_that_has_ended_is_assessed_once(
        self, builder: StoreBuilder, assessed: list[str]
    ) -> None:
        builder.adopt_rule(CANARY)
        builder.adopt_rule(TEST, minute=60)
        store, cached = builder.build(), Summaries()
        first = summarize(store, of=cached)
        assert summarize(store, NOW_MS + HOUR_MS, cached) == first
        assert assessed == ["koala-test", "koala-canary", "koala-test"]

    def test_only_the_experiments_that_are_asked_for_are_assessed(
        self, builder: StoreBuilder, assessed: list[str]
    ) -> None:
        builder.adopt_rule(CANARY)
        builder.adopt_rule(TEST, minute=60)
        newest = next(Summaries().summarize(builder.build(), labels, NOW_MS))
        assert assessed == [newest.name] == ["koala-test"]

    def test_an_experiment_is_assessed_again_when_the_time_since_its_end_has_doubled(
        self, builder: StoreBuilder, assessed: list[str]
    ) -> None:
        """Feedback and reviews arrive after the end."""
        builder.adopt_rule(CANARY)
        builder.adopt_rule({"kind": "single", "stable": "v1"}, minute=60)
        store, cached = builder.build(), Summaries()
        for hours_since_end in (1, 1.5, 2, 3.9, 4):
            summarize(store, START_MS + int((1 + hours_since_end) * HOUR_MS), cached)
        assert len(assessed) == 3

    def test_an_experiment_that_is_resumed_is_assessed_again(
        self, builder: StoreBuilder, assessed: list[str]
    ) -> None:
        builder.adopt_rule(CANARY)
        add_users(builder, range(4), range(10, 12), minute=1)
        builder.adopt_rule(SHADOW, minute=60)
        cached = Summaries()
        summarize(builder.build(), of=cached)
        builder.adopt_rule(CANARY, minute=120)
        add_users(builder, range(20, 24), range(30, 32), minute=121)
        builder.adopt_rule(SHADOW, minute=180)
        _, canary = summarize(builder.build(), of=cached)
        assert [arm["units"] for arm in canary["arms"]] == [8, 4]
