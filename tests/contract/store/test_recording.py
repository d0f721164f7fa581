"""Batches are stored once and whole, and writers are counted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.recording.batch import Batch
from serve_app.recording.records import Exposure
from serve_app.store.errors import StoreError
from serve_app.store.store import Store
from tests.factories import OTHER_WRITER, WRITER, adoption, batch, exposure, pair
from tests.rows import contents, delete_all, stored

OPTIONAL = [field.name for field in fields(Exposure) if "None" in str(field.type)]


@pytest.mark.parametrize("changes", [{}, dict.fromkeys(OPTIONAL)], ids=["full", "empty"])
def test_an_exposure_is_read_as_recorded(store: Store, url: str, changes: dict[str, Any]) -> None:
    one = exposure(7, **changes)
    store.record(batch(adoption("a", 0), one))
    assert stored(url, Exposure) == [one]


def test_an_overlapping_batch_adds_only_new_exposures(store: Store, url: str) -> None:
    """The first exposure with a sequence number is kept."""
    store.record(batch(exposure(1), exposure(3)))
    store.record(batch(exposure(2), exposure(3, label="dog"), exposure(4)))
    exposures = stored(url, Exposure)
    assert sorted(e.sequence for e in exposures) == [1, 2, 3, 4]
    assert {e.label for e in exposures} == {"cat"}
    assert store.recording().stored == 4


def test_sequence_numbers_are_per_writer(store: Store) -> None:
    store.record(batch(exposure(1)))
    store.record(batch(exposure(1), writer=OTHER_WRITER))
    assert store.recording().stored == 2


def test_a_gap_in_the_sequence_is_missing_until_it_is_filled(store: Store) -> None:
    store.record(batch(exposure(2, at_ms=20), exposure(5, at_ms=50), last_sequence=6, dropped=2))
    (writer,) = store.recording().writers
    assert (writer.stored, writer.dropped, writer.missing) == (2, 2, 4)

    store.record(batch(exposure(1, at_ms=10), last_sequence=5, dropped=1))
    (writer,) = store.recording().writers
    assert (writer.first_seen_ms, writer.last_seen_ms) == (10, 50)
    assert (writer.last_sequence, writer.dropped) == (6, 2)
    assert (writer.stored, writer.missing) == (3, 3)


def test_the_counters_of_all_writers_are_summed(store: Store) -> None:
    store.record(batch(exposure(1, at_ms=10), last_sequence=3, dropped=1))
    store.record(batch(exposure(4, at_ms=20), writer=OTHER_WRITER, dropped=2))
    recording = store.recording()
    assert [writer.writer for writer in recording.writers] == [OTHER_WRITER, WRITER]
    assert (recording.stored, recording.dropped, recording.missing) == (2, 3, 5)
    assert recording.without_epoch == 2


def test_an_empty_store_has_nothing_missing(store: Store) -> None:
    recording = store.recording()
    assert (recording.writers, recording.stored, recording.missing) == ((), 0, 0)


def test_a_batch_with_an_invalid_exposure_is_not_stored(store: Store, url: str) -> None:
    invalid = exposure(2, latency_ms=None)
    with pytest.raises(StoreError):
        store.record(batch(adoption("a", 0), exposure(1), invalid))
    assert not any(contents(url).values())


def test_concurrent_records_store_every_batch_once(store: Store, url: str) -> None:
    """A delivery that timed out may still run when it is retried."""
    once = [batch(adoption("a", n), exposure(n), exposure(n + 1)) for n in range(1, 40)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store.record, once * 2))
    (writer,) = store.recording().writers
    assert (writer.stored, writer.missing) == (40, 0)
    assert len(stored(url, Exposure)) == 40
    assert len(store.epochs(limit=10)) == 1


batches = st.builds(
    lambda adoptions, exposures, pairs, writer, dropped: batch(
        *adoptions, *exposures, *pairs, writer=writer, dropped=dropped, dropped_pairs=dropped
    ),
    adoptions=st.lists(
        st.builds(adoption, st.sampled_from("abc"), st.integers(0, 9)), min_size=1, max_size=3
    ),
    exposures=st.lists(
        st.builds(
            exposure,
            st.integers(1, 9),
            at_ms=st.integers(0, 9),
            rule_id=st.sampled_from(["aaaaaaaa", "bbbbbbbb", "dddddddd"]),
        ),
        max_size=4,
        unique_by=lambda e: e.sequence,
    ),
    pairs=st.lists(
        st.builds(
            pair,
            st.integers(1, 9),
            at_ms=st.integers(0, 9),
            rule_id=st.sampled_from(["aaaaaaaa", "bbbbbbbb", "dddddddd"]),
        ),
        max_size=4,
        unique_by=lambda p: p.sequence,
    ),
    writer=st.sampled_from([WRITER, OTHER_WRITER]),
    dropped=st.integers(0, 9),
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sent=st.lists(batches, min_size=1, max_size=4), data=st.data())
def test_a_repeated_batch_changes_nothing(
    store: Store, url: str, sent: list[Batch], data: st.DataObject
) -> None:
    """However late it is delivered, and whatever is delivered in between."""
    delete_all(url)
    for one in sent:
        store.record(one)
    before = contents(url)
    store.record(data.draw(st.sampled_from(sent)))
    assert contents(url) == before
