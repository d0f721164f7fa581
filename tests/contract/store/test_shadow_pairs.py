"""Shadow pairs are stored once, with their epoch, and counted by writer."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from serve_app.recording.records import ShadowPair
from serve_app.store.errors import StoreError
from serve_app.store.store import Store
from tests.factories import OTHER_WRITER, WRITER, adoption, batch, exposure, pair
from tests.rows import contents, epoch_by_sequence, stored

OPTIONAL = [field.name for field in fields(ShadowPair) if "None" in str(field.type)]


@pytest.mark.parametrize("changes", [{}, dict.fromkeys(OPTIONAL)], ids=["full", "empty"])
def test_a_pair_is_read_as_recorded(store: Store, url: str, changes: dict[str, Any]) -> None:
    one = pair(7, **changes)
    store.record(batch(adoption("a", 0), one))
    assert stored(url, ShadowPair) == [one]


def test_a_pair_may_arrive_before_or_without_its_exposure(store: Store, url: str) -> None:
    store.record(batch(pair(1), pair(2)))
    store.record(batch(exposure(2)))
    assert len(stored(url, ShadowPair)) == 2
    assert store.recording().stored == 1


def test_an_overlapping_batch_adds_only_new_pairs(store: Store, url: str) -> None:
    """The first pair with a sequence number is kept."""
    store.record(batch(pair(1), pair(3)))
    store.record(batch(pair(2), pair(3, label="cow"), pair(4)))
    pairs = stored(url, ShadowPair)
    assert sorted(p.sequence for p in pairs) == [1, 2, 3, 4]
    assert {p.label for p in pairs} == {"dog"}
    assert store.recording().pairs == 4


def test_a_pair_belongs_to_the_epoch_of_its_time(store: Store, url: str) -> None:
    store.record(batch(adoption("a", 0), adoption("b", 10), adoption("a", 20)))
    times_ms = {1: 9, 2: 19, 3: 20}
    store.record(batch(*(pair(n, at_ms=at_ms) for n, at_ms in times_ms.items())))
    assert epoch_by_sequence(url, ShadowPair) == {1: 1, 2: 1, 3: 3}


def test_an_adoption_applies_to_the_pairs_of_its_batch(store: Store, url: str) -> None:
    store.record(batch(adoption("a", 0), pair(1)))
    assert epoch_by_sequence(url, ShadowPair) == {1: 1}


def test_a_pair_of_a_rule_without_adoption_has_no_epoch(store: Store, url: str) -> None:
    """It is not counted: `without_epoch` counts exposures."""
    store.record(batch(adoption("a", 0), pair(1, rule_id="bbbbbbbb")))
    assert epoch_by_sequence(url, ShadowPair) == {1: None}
    assert store.recording().without_epoch == 0


def test_a_writer_has_counters_of_pairs(store: Store) -> None:
    store.record(batch(pair(2, at_ms=20), pair(5, at_ms=50), dropped_pairs=3))
    store.record(batch(pair(1, at_ms=10), dropped_pairs=2))
    (writer,) = store.recording().writers
    assert (writer.writer, writer.pairs, writer.dropped_pairs) == (WRITER, 3, 3)
    assert (writer.first_seen_ms, writer.last_seen_ms) == (10, 50)
    assert (writer.stored, writer.dropped) == (0, 0)


def test_the_pair_counters_of_all_writers_are_summed(store: Store) -> None:
    store.record(batch(pair(1), dropped_pairs=1))
    store.record(batch(pair(1), pair(2), writer=OTHER_WRITER, dropped_pairs=4))
    assert (store.recording().pairs, store.recording().dropped_pairs) == (3, 5)


def test_a_batch_with_an_invalid_pair_is_not_stored(store: Store, url: str) -> None:
    with pytest.raises(StoreError):
        store.record(batch(adoption("a", 0), exposure(1), pair(1, candidate=None)))
    assert not any(contents(url).values())


def test_outcomes_of_pairs_are_counted_once(store: Store) -> None:
    assert store.recording().outcomes == {"copied": 0, "failed": 0, "shed": 0}
    first = batch(pair(1), pair(2, outcome="shed"), pair(3, outcome="shed"))
    store.record(first)
    store.record(first)
    store.record(batch(pair(4, outcome="failed", rule_id="bbbbbbbb")))
    store.record(batch(pair(1), writer=OTHER_WRITER))
    assert store.recording().outcomes == {"copied": 2, "failed": 1, "shed": 2}
