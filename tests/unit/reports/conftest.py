"""Small stores whose figures can be worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serve_app.clock import DAY_MS, HOUR_MS, MINUTE_MS
from serve_app.domain import CopyOutcome, Exposure, Feedback, ShadowPair
from serve_app.recording.batch import Adoption, Batch
from serve_app.reports.period import Period
from serve_app.rules.parse import parse_rule
from serve_app.rules.rule import Rule
from serve_app.store.store import Store, open_store

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
}
TEST: dict[str, Any] = {
    "kind": "ab_test",
    "control": "v1",
    "treatment": "v2",
    "unit": "user",
    "experiment": "koala-test",
}
SHADOW: dict[str, Any] = {"kind": "shadow", "stable": "v1", "candidate": "v2"}


def labels(version: str) -> tuple[str, ...]:
    """Those that a version knows."""
    return LABELS[version]


def hours(since: float, until: float, **region: Any) -> Period:
    """A part of the day, and of the next ones."""
    return Period(START_MS + int(since * HOUR_MS), START_MS + int(until * HOUR_MS), **region)


def as_json(report: dict[str, Any]) -> dict[str, Any]:
    """What a client gets; rejects what JSON cannot say."""
    sent: dict[str, Any] = json.loads(json.dumps(report, allow_nan=False))
    assert sent == report
    return sent


class Diary:
    """What an ingress tells, entry by entry. Minutes count from `START_MS`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rule: Rule | None = None
        self._sequence = 0
        self._adoptions: list[Adoption] = []
        self._exposures: list[Exposure] = []
        self._pairs: list[ShadowPair] = []
        self._feedback: list[Feedback] = []

    def obeys(self, rule: dict[str, Any], minute: int = 0, **changes: Any) -> Rule:
        """A rule is in force from now on."""
        self._rule = parse_rule(rule | changes, tuple(LABELS))
        at_ms = START_MS + minute * MINUTE_MS
        self._adoptions.append(Adoption(at_ms, self._rule.rule_id, self._rule.canonical()))
        return self._rule

    def answers(
        self, assigned: str | None, user: int | None, minute: int = 1, **changes: Any
    ) -> Exposure:
        """An image was answered; by the version that was assigned, unless `changes` differ."""
        self._sequence += 1
        exposure = Exposure(
            writer=WRITER,
            sequence=self._sequence,
            at_ms=START_MS + minute * MINUTE_MS,
            request_id=f"r-{self._sequence}",
            rule_id=self._rule.rule_id if self._rule else "00000000",
            rule=self._rule.kind if self._rule else "single",
            reason="split",
            assigned=assigned,
            served=assigned,
            user=None if user is None else f"{user:016x}" * 2,
            session=None,
            region="DE",
            label="cat",
            confidence=0.75,
            latency_ms=10.0,
            model_ms=4.0,
            error=None,
        )
        exposure = replace(exposure, **changes)
        self._exposures.append(exposure)
        return exposure

    def falls_back(self, user: int, minute: int = 1, **changes: Any) -> Exposure:
        """v2 was assigned and failed; v1 answered."""
        failed = {"served": "v1", "error": "too_slow", "latency_ms": 20.0}
        return self.answers("v2", user, minute, **failed | changes)

    def hears(self, answer: Exposure, after_s: float = 60, **said: Any) -> None:
        """Something is said of an answer."""
        word = {"label": None, "correct": None, "rating": None, "complaint": None} | said
        self._feedback.append(
            Feedback(
                writer=answer.writer,
                sequence=answer.sequence,
                at_ms=answer.at_ms + int(1000 * after_s),
                answered_at_ms=answer.at_ms,
                rule_id=answer.rule_id,
                assigned=answer.assigned,
                answered=answer.label or "",
                **word,
            )
        )

    def copies(self, live: Exposure, label: str | None, **changes: Any) -> None:
        """An image was copied to the candidate, which took 6 ms for it; None: it failed."""
        pair = ShadowPair(
            writer=live.writer,
            sequence=live.sequence,
            at_ms=live.at_ms,
            rule_id=live.rule_id,
            candidate="v2",
            outcome=(CopyOutcome.COPIED if label else CopyOutcome.FAILED).value,
            probability=1.0,
            label=label,
            confidence=0.5 if label else None,
            latency_ms=30.0,
            model_ms=6.0 if label else None,
            error=None if label else "too_slow",
            region=live.region,
            live_version=live.served,
            live_label=live.label,
            live_model_ms=live.model_ms,
            live_latency_ms=live.latency_ms,
            unit=live.user or live.session,
        )
        self._pairs.append(replace(pair, **changes))

    def store(self) -> Store:
        """The store, which was told everything."""
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
def diary(database_url: str) -> Iterator[Diary]:
    store = open_store(database_url)
    yield Diary(store)
    store.close()
