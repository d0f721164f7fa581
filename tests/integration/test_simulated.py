"""Simulated batches are recorded in a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.recording.records import Feedback
from serve_app.rules.parse import parse_rule
from serve_app.store.store import open_store
from serve_app.traffic.scenario import read_scenario
from tests.rows import stored
from tests.simulated import simulate

FOLDER = Path(__file__).parents[2] / "docs/scenarios"
RULES = {
    "shadow": {"kind": "shadow", "stable": "v1", "candidate": "v2"},
    "ab_test": {"kind": "ab_test", "control": "v1", "treatment": "v2", "experiment": "koala"},
}


@pytest.mark.parametrize("kind", RULES)
def test_a_store_records_a_simulated_day(kind: str, tmp_path: Path) -> None:
    scenario = read_scenario(FOLDER / "koalas-in-australia.yaml").scale(2_000)
    rule = parse_rule(RULES[kind], ("v1", "v2"))
    url = f"sqlite:///{tmp_path / 'store.db'}"
    store = open_store(url)
    feedback_count = 0
    for batch in simulate(scenario, rule, seed=1, batch_size=700):
        store.record(batch)
        store.record(batch)  # idempotent
        feedback_count += len(batch.feedback)
    recording = store.recording()
    assert (recording.stored, recording.dropped, recording.missing) == (2_000, 0, 0)
    assert recording.outcomes["copied"] == (2_000 if kind == "shadow" else 0)
    assert len(stored(url, Feedback)) == feedback_count > 500
    assert [epoch.rule_id for epoch in store.epochs(10)] == [rule.rule_id]
    store.close()
