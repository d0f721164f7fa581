"""Old rows and sums are removed, and old rows are rejected on arrival."""

from __future__ import annotations

import pytest

from serve_app.recording.batch import Batch
from serve_app.recording.records import Exposure
from serve_app.store import retention
from serve_app.store.retention import Retention
from serve_app.store.scope import EVERYTHING
from serve_app.store.store import Store
from tests.factories import adoption, batch, exposure, feedback, pair, split_adoption
from tests.rows import contents, stored

DAY_MS = 86_400_000
NOW_MS = 1_000 * DAY_MS
ROWS = ("exposures", "shadow_pairs", "feedback")
SUMS = (
    "exposure_sums",
    "latency_sums",
    "unit_sums",
    "pair_sums",
    "unit_pair_sums",
    "first_assignments",
    "labelled_feedback",
)
SPLIT = split_adoption()


def batch_at(sequence: int, at_ms: int) -> Batch:
    """An exposure at a time, its shadow pair, and feedback a day later."""
    return batch(
        SPLIT,
        exposure(sequence, at_ms=at_ms, user=f"{sequence:016x}" + "0" * 16),
        pair(sequence, at_ms=at_ms),
        feedback(at_ms + DAY_MS, sequence=sequence, answered_at_ms=at_ms),
    )


def prune_all(store: Store, kept: Retention | None = None) -> int:
    """Prune until nothing is left; the number of removed rows."""
    return sum(iter(lambda: store.prune(NOW_MS, kept or Retention()), 0))


def row_counts(url: str) -> dict[str, int]:
    return {name: len(rows) for name, rows in contents(url).items()}


@pytest.fixture
def ages(store: Store) -> list[Batch]:
    """Batches of 500, 400, 100, 30 and 1 days ago, and 1 ms before 400 and 30 days ago."""
    times_ms = [500 * DAY_MS, 400 * DAY_MS + 1, 400 * DAY_MS, 100 * DAY_MS]
    times_ms += [30 * DAY_MS + 1, 30 * DAY_MS, DAY_MS]
    batches = [batch_at(n, NOW_MS - ms) for n, ms in enumerate(times_ms, 1)]
    for one in batches:
        store.record(one)
    return batches


def test_rows_are_removed_after_30_days_and_sums_after_400(
    store: Store, url: str, ages: list[Batch]
) -> None:
    prune_all(store)
    assert {name: row_counts(url)[name] for name in ROWS} == dict.fromkeys(ROWS, 2)
    assert min(e.at_ms for e in stored(url, Exposure)) == NOW_MS - 30 * DAY_MS
    # A sum is removed once its whole minute or day is too old.
    assert row_counts(url)["exposure_sums"] == row_counts(url)["pair_sums"] == 5
    assert row_counts(url)["unit_sums"] == row_counts(url)["first_assignments"] == 5
    assert [s.exposures for s in store.exposure_sums(EVERYTHING)] == [5]
    assert (row_counts(url)["epochs"], row_counts(url)["adoptions"]) == (1, 1)


def test_a_unit_is_removed_with_its_first_assignment(store: Store, url: str) -> None:
    first_ms = NOW_MS - 400 * DAY_MS - 1
    store.record(batch(SPLIT, exposure(1, at_ms=first_ms), exposure(2, at_ms=first_ms + DAY_MS)))
    assert row_counts(url)["unit_sums"] == 2
    prune_all(store)
    assert row_counts(url)["unit_sums"] == row_counts(url)["first_assignments"] == 0


def test_the_retention_can_be_configured(store: Store, url: str, ages: list[Batch]) -> None:
    prune_all(store, Retention(rows_days=1, sums_days=2))
    assert {row_counts(url)[name] for name in (*ROWS, "exposure_sums", "unit_sums")} == {1}


def test_rows_within_the_retention_are_kept(store: Store, url: str) -> None:
    store.record(batch_at(1, NOW_MS - 30 * DAY_MS))
    before = contents(url)
    assert prune_all(store) == 0
    assert {name: rows for name, rows in contents(url).items() if name != "retention_cutoff"} == {
        name: rows for name, rows in before.items() if name != "retention_cutoff"
    }


def test_a_removed_batch_that_is_delivered_again_is_rejected(
    store: Store, url: str, ages: list[Batch]
) -> None:
    prune_all(store)
    before = {name: contents(url)[name] for name in (*ROWS, *SUMS, "ingress_writers")}
    for one in ages:
        store.record(one)
    assert {name: contents(url)[name] for name in (*ROWS, *SUMS, "ingress_writers")} == before
    assert store.recording().rejected == 5 * 3


def test_an_old_row_that_is_delivered_for_the_first_time_is_rejected(
    store: Store, url: str
) -> None:
    """It cannot be distinguished from a removed row; it is missing, and counted."""
    store.record(batch(adoption("a", 0), exposure(1, at_ms=NOW_MS), last_sequence=2))
    store.prune(NOW_MS)
    store.record(batch(exposure(2, at_ms=NOW_MS - 31 * DAY_MS)))
    assert row_counts(url)["exposures"] == 1
    recording = store.recording()
    assert (recording.missing, recording.rejected) == (1, 1)


def test_the_recent_rows_of_a_partly_old_batch_are_stored(store: Store, url: str) -> None:
    store.prune(NOW_MS)
    old, young = NOW_MS - 31 * DAY_MS, NOW_MS - 29 * DAY_MS
    store.record(
        batch(
            *(exposure(n, at_ms=ms) for n, ms in enumerate((old, young), 1)),
            *(pair(n, at_ms=ms) for n, ms in enumerate((old, young), 1)),
            *(feedback(NOW_MS, sequence=n, answered_at_ms=ms) for n, ms in ((1, old), (2, young))),
        )
    )
    rows = contents(url)
    assert [[row[1] for row in rows[name]] for name in ROWS[:3]] == [[2], [2], [2]]
    assert store.recording().rejected == 3


def test_feedback_on_one_prediction_is_removed_together(store: Store, url: str) -> None:
    """Otherwise a row that repeated a removed row would be stored when it is delivered again."""
    answered = NOW_MS - 31 * DAY_MS
    batches = [
        batch(feedback(at_ms, answered_at_ms=answered)) for at_ms in (answered + 5, NOW_MS - 5)
    ]
    for one in batches:
        store.record(one)
    prune_all(store)
    for one in batches:
        store.record(one)
    assert row_counts(url)["feedback"] == 0


def test_the_cutoff_is_never_lowered(store: Store, url: str) -> None:
    """A longer retention does not bring back removed rows."""
    one = batch_at(1, NOW_MS - 40 * DAY_MS)
    store.record(one)
    prune_all(store)
    prune_all(store, Retention(rows_days=50))
    store.record(one)
    assert row_counts(url)["exposures"] == 0
    assert [s.exposures for s in store.exposure_sums(EVERYTHING)] == [1]


def test_a_prune_is_bounded_and_rows_in_between_are_not_counted_twice(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are recorded between two prunes."""
    monkeypatch.setattr(retention, "PRUNE_ROWS", 10)
    old = [exposure(n, at_ms=n, user=f"{n:016x}" + "0" * 16) for n in range(1, 36)]
    store.record(batch(SPLIT, *old))
    removed: list[int] = []
    while count := store.prune(NOW_MS, Retention(rows_days=1, sums_days=1)):
        removed.append(count)
        store.record(batch(*old))
        assert [s.exposures for s in store.exposure_sums(EVERYTHING)] in ([35], [])
    assert set(removed[:-1]) == {10}
    assert all(row_counts(url)[name] == 0 for name in (*ROWS, *SUMS))


@pytest.mark.parametrize("days", [(0, 400), (30, 29)])
def test_an_invalid_retention_is_rejected(days: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{days[0]} days and sums for {days[1]}"):
        Retention(*days)


def test_above_the_size_limit_the_oldest_rows_are_removed_except_those_of_the_last_day(
    store: Store, url: str, ages: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PRUNE_ROWS", 2)
    prune_all(store)  # two days remain
    used = store.used_bytes()
    if used is None:  # PostgreSQL
        assert prune_all(store, Retention(max_bytes=1)) == 0
        return
    assert prune_all(store, Retention(max_bytes=used)) == 0
    assert prune_all(store, Retention(max_bytes=1)) == len(ROWS)
    assert [e.at_ms for e in stored(url, Exposure)] == [NOW_MS - DAY_MS]
    assert row_counts(url)["exposure_sums"] == 5
