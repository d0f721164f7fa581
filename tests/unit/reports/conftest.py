"""Small stores whose report figures can be computed by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from serve_app.clock import DAY_MS, HOUR_MS, MINUTE_MS
from serve_app.recording.batch import Adoption, Batch
from serve_app.recording.records import Exposure, Feedback, ShadowPair
from serve_app.reports.assessment import EXPERIMENT_REPORTS, ExperimentAssessment
from serve_app.reports.experiment import find_experiment
from serve_app.reports.period import Period
from serve_app.reports.to_json import to_json
from serve_app.rules.bucket import bucket
from serve_app.rules.parse import parse_rule
from serve_app.rules.rule import Rule
from serve_app.store.store import Store, open_store
from tests.factories import exposure as make_exposure
from tests.factories import feedback_on, pair_of

START_MS = 1_700_006_400_000  # a UTC midnight
DAY = Period(START_MS, START_MS + DAY_MS)
WRITER = "51a1a7e00001"
LABELS = {"v1": ("cat", "dog"), "v2": ("cat", "dog", "koala"), "v3": ("cat", "dog", "koala")}
CANARY: dict[str, Any] = {
    "kind": "canary_parallel",
    "stable": "v1",
    "candidate": "v2",
    "weight": 0.5,
    "experiment": "koala-canary",
    "settle": "1h",
}
TEST: dict[str, Any] = {
    "kind": "ab_test",
    "control": "v1",
    "treatment": "v2",
    "unit": "user",
    "experiment": "koala-test",
    "settle": "1h",
    "outcome": {"window": "1h"},
}
SHADOW: dict[str, Any] = {"kind": "shadow", "stable": "v1", "candidate": "v2"}


def labels(version: str) -> tuple[str, ...]:
    """The labels that a version knows."""
    return LABELS[version]


def hours(since: float, until: float, **region: Any) -> Period:
    """The period between two hours, counted from `START_MS`."""
    return Period(START_MS + int(since * HOUR_MS), START_MS + int(until * HOUR_MS), **region)


def user_hash(user: int) -> str:
    """The keyed hash of a user."""
    return f"{user:016x}" * 2


def users_in(low: float, high: float, experiment: str = "koala-canary") -> Iterator[int]:
    """Users whose bucket is at least `low` and below `high`."""
    return (user for user in count(1) if low <= bucket(experiment, user_hash(user)) < high)


def as_json(assessment: object) -> dict[str, Any]:
    """The JSON of an assessment after a round trip, which must not change it."""
    content: dict[str, Any] = to_json(assessment)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    return content


def assess(
    report: str, store: Store, period: Period, experiment: str | None = None
) -> ExperimentAssessment:
    """The assessment of an experiment: canary, ab or shadow."""
    found = find_experiment(store, report, period, experiment)
    return EXPERIMENT_REPORTS[report](store, period, labels, found)


class StoreBuilder:
    """Collects the records of one ingress and writes them to a store.

    Minutes count from `START_MS`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rule: Rule | None = None
        self._sequence = 0
        self._adoptions: list[Adoption] = []
        self._exposures: list[Exposure] = []
        self._pairs: list[ShadowPair] = []
        self._feedback: list[Feedback] = []

    def adopt_rule(self, rule: dict[str, Any], minute: int = 0, **changes: Any) -> Rule:
        """Adopt a rule from this minute on. Later exposures belong to it."""
        self._rule = parse_rule(rule | changes, tuple(LABELS))
        at_ms = START_MS + minute * MINUTE_MS
        self._adoptions.append(Adoption(at_ms, self._rule.rule_id, self._rule.canonical()))
        return self._rule

    def add_exposure(
        self, assigned: str | None, user: int | None, minute: int = 1, **changes: Any
    ) -> Exposure:
        """Add an exposure, served by the assigned version unless `changes` say otherwise."""
        self._sequence += 1
        fields: dict[str, Any] = {
            "writer": WRITER,
            "at_ms": START_MS + minute * MINUTE_MS,
            "request_id": f"r-{self._sequence}",
            "rule_id": self._rule.rule_id if self._rule else "00000000",
            "rule": self._rule.kind if self._rule else "single",
            "assigned": assigned,
            "served": assigned,
            "user": None if user is None else user_hash(user),
            "session": None,
            "region": "DE",
            "confidence": 0.75,
            "latency_ms": 10.0,
            "model_ms": 4.0,
            "error": None,
        }
        exposure = make_exposure(self._sequence, **fields | changes)
        self._exposures.append(exposure)
        return exposure

    def add_fallback(self, user: int, minute: int = 1, **changes: Any) -> Exposure:
        """Add an exposure that was assigned to v2, which failed; v1 served it."""
        failed = {"served": "v1", "error": "too_slow", "latency_ms": 20.0}
        return self.add_exposure("v2", user, minute, **failed | changes)

    def skip_sequences(self, count: int) -> None:
        """Exposures that are numbered and never arrive."""
        self._sequence += count

    def add_feedback(self, exposure: Exposure, after_s: float = 60, **content: Any) -> None:
        """Add feedback on an exposure, `after_s` seconds later."""
        self._feedback.append(feedback_on(exposure, int(1000 * after_s), **content))

    def add_pair(self, live: Exposure, label: str | None, **changes: Any) -> None:
        """Add a shadow pair with a model time of 6 ms; a failed one if the label is None."""
        self._pairs.append(pair_of(live, label, **changes))

    def build(self) -> Store:
        """Record everything that was added, and return the store."""
        self._store.record(
            Batch(
                WRITER,
                adoptions=tuple(self._adoptions),
                exposures=tuple(self._exposures),
                pairs=tuple(self._pairs),
                feedback=tuple(self._feedback),
                last_sequence=self._sequence,
            )
        )
        return self._store


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def builder(database_url: str) -> Iterator[StoreBuilder]:
    store = open_store(database_url)
    yield StoreBuilder(store)
    store.close()
