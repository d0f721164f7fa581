"""Epochs are derived from adoptions, and exposures belong to them."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import create_engine

from serve_app.recording.batch import Adoption
from serve_app.recording.records import Exposure
from serve_app.rules.parse import read_rule
from serve_app.store.epochs import NO_SPLIT, EpochSplit, Timeline
from serve_app.store.store import Store
from tests.factories import OTHER_WRITER, adoption, batch, exposure
from tests.rows import epoch_by_sequence

SHADOW = {"kind": "shadow", "stable": "v1", "candidate": "v2"}
SPLIT = {"kind": "ab_test", "control": "v1", "treatment": "v2", "experiment": "koala"}
DAY_MS = 86_400_000


def periods(store: Store) -> list[tuple[str, int, int | None]]:
    """Letter, start and end of every epoch, oldest first."""
    return [(e.rule_id[0], e.started_at_ms, e.ended_at_ms) for e in store.epochs(100)[::-1]]


def record_and_find_epoch(store: Store, url: str, one: Exposure) -> tuple[str, int] | None:
    """Letter and start of the epoch that an exposure is stored with."""
    store.record(batch(one))
    number = epoch_by_sequence(url, Exposure)[one.sequence]
    epochs = {e.number: (e.rule_id[0], e.started_at_ms) for e in store.epochs(100)}
    return None if number is None else epochs[number]


def test_an_epoch_has_the_facts_of_its_rule(store: Store) -> None:
    store.record(batch(adoption("a", 5)))
    (epoch,) = store.epochs(limit=10)
    assert (epoch.number, epoch.kind) == (1, "single")
    assert (epoch.rule_id, epoch.rule) == ("aaaaaaaa", '{"kind":"single","name":"a"}')
    assert (epoch.started_at_ms, epoch.ended_at_ms) == (5, None)


@pytest.mark.parametrize(
    ("rule", "experiment", "split"),
    [
        ({"kind": "single", "stable": "v1"}, None, NO_SPLIT),
        (SHADOW, "shadow-v1-v2", NO_SPLIT),  # adopted before shadows had names
        (SHADOW | {"experiment": "busy-week"}, "busy-week", NO_SPLIT),
        (SPLIT | {"unit": "user"}, "koala", EpochSplit("koala", "", "user", DAY_MS, None)),
        (SPLIT | {"unit": "request"}, "koala", EpochSplit("koala", "", None, DAY_MS, None)),
        (
            SPLIT | {"unit": "session", "settle": "1m", "outcome": {"window": "1h"}},
            "koala",
            EpochSplit("koala", "", "session", 60_000, 3_600_000),
        ),
    ],
)
def test_a_shadow_is_an_experiment_and_splits_nothing(
    store: Store, url: str, rule: dict[str, Any], experiment: str | None, split: EpochSplit
) -> None:
    store.record(batch(Adoption(0, "aaaaaaaa", json.dumps(rule))))
    (epoch,) = store.epochs(limit=10)
    assert (epoch.experiment, epoch.unit) == (experiment, rule.get("unit"))
    engine = create_engine(url)
    with engine.connect() as connection:
        found = Timeline(connection, {"aaaaaaaa"}).split("aaaaaaaa")
    assert replace(found, digest="") == split
    terms = read_rule(rule).experiment_terms
    assert found.digest == (terms.digest if terms and "unit" in rule else "")
    engine.dispose()


def test_a_rule_that_is_adopted_again_starts_a_new_epoch(store: Store) -> None:
    store.record(batch(adoption("a", 0), adoption("b", 10)))
    store.record(batch(adoption("a", 20)))
    assert periods(store) == [("a", 0, 10), ("b", 10, 20), ("a", 20, None)]
    assert [epoch.number for epoch in store.epochs(limit=2)] == [3, 2]


def test_writers_that_adopt_a_rule_share_its_epoch(store: Store) -> None:
    """It starts at the earliest adoption, even if that is delivered later."""
    store.record(batch(adoption("a", 0), adoption("b", 100)))
    store.record(batch(adoption("a", 1), adoption("b", 98), writer=OTHER_WRITER))
    assert periods(store) == [("a", 0, 98), ("b", 98, None)]


@pytest.mark.parametrize("order", list(permutations("abcd")), ids="".join)
def test_the_order_of_delivery_does_not_change_the_epochs(
    store: Store, order: tuple[str, ...]
) -> None:
    """Batches of a spool are delivered after later batches of other writers."""
    start_ms = {"a": 0, "b": 10, "c": 20, "d": 30}
    for letter in order:
        store.record(batch(adoption(letter, start_ms[letter])))
    assert periods(store) == [("a", 0, 10), ("b", 10, 20), ("c", 20, 30), ("d", 30, None)]


def test_an_exposure_belongs_to_the_epoch_of_its_time(store: Store, url: str) -> None:
    """Even when it arrives in a later epoch of its rule."""
    store.record(batch(adoption("a", 0), adoption("b", 10), adoption("a", 20)))
    assert record_and_find_epoch(store, url, exposure(1, rule_id="aaaaaaaa", at_ms=9)) == ("a", 0)
    assert record_and_find_epoch(store, url, exposure(2, rule_id="aaaaaaaa", at_ms=20)) == ("a", 20)


def test_an_exposure_that_ends_after_its_epoch_belongs_to_it(store: Store, url: str) -> None:
    store.record(batch(adoption("a", 0), adoption("b", 10)))
    assert record_and_find_epoch(store, url, exposure(1, rule_id="aaaaaaaa", at_ms=11)) == ("a", 0)


def test_an_exposure_before_the_first_epoch_of_its_rule_belongs_to_it(
    store: Store, url: str
) -> None:
    """The clock of its writer is behind."""
    store.record(batch(adoption("a", 0), adoption("b", 10)))
    assert record_and_find_epoch(store, url, exposure(1, rule_id="bbbbbbbb", at_ms=9)) == ("b", 10)


def test_an_exposure_of_a_rule_without_adoption_has_no_epoch_and_is_counted(
    store: Store, url: str
) -> None:
    store.record(batch(adoption("a", 0)))
    assert record_and_find_epoch(store, url, exposure(1, rule_id="bbbbbbbb")) is None
    assert record_and_find_epoch(store, url, exposure(2, rule_id="aaaaaaaa")) == ("a", 0)
    assert store.recording().without_epoch == 1


def test_an_adoption_applies_to_the_exposures_of_its_batch(store: Store, url: str) -> None:
    store.record(batch(adoption("a", 0), exposure(1, rule_id="aaaaaaaa", at_ms=1)))
    assert epoch_by_sequence(url, Exposure) == {1: 1}
