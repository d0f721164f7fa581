"""What is removed, what stays, and what may not come back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serve_app.recording.batch import Adoption, Batch
from serve_app.store import retention
from serve_app.store.retention import Retention
from serve_app.store.scope import EVERYTHING
from serve_app.store.store import Store
from tests.contract.store.examples import adoption, batch, contents, exposure, feedback, pair

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
SPLIT = Adoption(0, "aaaaaaaa", json.dumps({"kind": "ab_test", "experiment": "k", "unit": "user"}))


def aged(sequence: int, at_ms: int) -> Batch:
    """An answer of a time, its shadow pair, and what was said of it a day later."""
    return batch(
        SPLIT,
        exposure(sequence, at_ms=at_ms, user=f"{sequence:016x}" + "0" * 16),
        pair(sequence, at_ms=at_ms),
        feedback(at_ms + DAY_MS, sequence=sequence, answered_at_ms=at_ms),
    )


def prune(store: Store, kept: Retention | None = None) -> int:
    """How many rows were removed in all."""
    slices = list(iter(lambda: store.prune(NOW_MS, kept or Retention()), 0))
    return sum(slices)


def counts(url: str) -> dict[str, int]:
    return {name: len(rows) for name, rows in contents(url).items()}


@pytest.fixture
def ages(store: Store) -> list[Batch]:
    """Of 500, 400, 100, 30 and 1 days, and of one millisecond more than 400 and 30."""
    times_ms = [500 * DAY_MS, 400 * DAY_MS + 1, 400 * DAY_MS, 100 * DAY_MS]
    times_ms += [30 * DAY_MS + 1, 30 * DAY_MS, DAY_MS]
    batches = [aged(n, NOW_MS - ms) for n, ms in enumerate(times_ms, 1)]
    for one in batches:
        store.record(one)
    return batches


def test_rows_go_after_30_days_and_sums_after_400(
    store: Store, url: str, ages: list[Batch]
) -> None:
    prune(store)
    assert {name: counts(url)[name] for name in ROWS} == dict.fromkeys(ROWS, 2)
    # What is summed by the minute or the day goes once all of that is too old.
    assert counts(url)["exposure_sums"] == counts(url)["pair_sums"] == 5
    assert counts(url)["unit_sums"] == counts(url)["first_assignments"] == 5
    assert [s.exposures for s in store.exposure_sums(EVERYTHING)] == [5]
    assert (counts(url)["epochs"], counts(url)["adoptions"]) == (1, 1)


def test_how_long_can_be_chosen(store: Store, url: str, ages: list[Batch]) -> None:
    prune(store, Retention(rows_days=1, sums_days=2))
    assert {counts(url)[name] for name in (*ROWS, "exposure_sums", "unit_sums")} == {1}


def test_what_is_young_enough_is_left_alone(store: Store, url: str) -> None:
    store.record(aged(1, NOW_MS - 30 * DAY_MS))
    before = contents(url)
    assert prune(store) == 0
    assert {name: rows for name, rows in contents(url).items() if name != "horizon"} == {
        name: rows for name, rows in before.items() if name != "horizon"
    }


def test_a_batch_that_comes_again_after_it_was_removed_counts_no_second_time(
    store: Store, url: str, ages: list[Batch]
) -> None:
    prune(store)
    before = {name: contents(url)[name] for name in (*ROWS, *SUMS, "writers")}
    for one in ages:
        store.record(one)
    assert {name: contents(url)[name] for name in (*ROWS, *SUMS, "writers")} == before
    assert store.recording().rejected == 5 * 3


def test_what_comes_late_and_for_the_first_time_is_rejected_as_well(store: Store, url: str) -> None:
    """Nobody can tell it from what was removed; it is missing, and counted."""
    store.record(batch(adoption("a", 0), exposure(1, at_ms=NOW_MS), last_sequence=2))
    store.prune(NOW_MS)
    store.record(batch(exposure(2, at_ms=NOW_MS - 31 * DAY_MS)))
    assert counts(url)["exposures"] == 1
    recording = store.recording()
    assert (recording.missing, recording.rejected) == (1, 1)


def test_of_a_batch_that_is_old_in_part_the_rest_is_taken(store: Store, url: str) -> None:
    store.prune(NOW_MS)
    old, young = NOW_MS - 31 * DAY_MS, NOW_MS - 29 * DAY_MS
    store.record(
        batch(
            *(exposure(n, at_ms=ms) for n, ms in enumerate((old, young), 1)),
            *(pair(n, at_ms=ms) for n, ms in enumerate((old, young), 1)),
            *(feedback(NOW_MS, sequence=n, answered_at_ms=ms) for n, ms in ((1, old), (2, young))),
        )
    )
    stored = contents(url)
    assert [[row[1] for row in stored[name]] for name in ROWS[:3]] == [[2], [2], [2]]
    assert store.recording().rejected == 3


def test_words_on_one_answer_stay_together(store: Store, url: str) -> None:
    """Else the last of them, which repeated the first, would be news when it came again."""
    answered = NOW_MS - 31 * DAY_MS
    words = [
        batch(feedback(at_ms, answered_at_ms=answered)) for at_ms in (answered + 5, NOW_MS - 5)
    ]
    for one in words:
        store.record(one)
    prune(store)
    for one in words:
        store.record(one)
    assert counts(url)["feedback"] == 0


def test_the_horizon_never_goes_back(store: Store, url: str) -> None:
    """Who keeps rows for longer from now on has lost the old ones all the same."""
    one = aged(1, NOW_MS - 40 * DAY_MS)
    store.record(one)
    prune(store)
    prune(store, Retention(rows_days=50))
    store.record(one)
    assert counts(url)["exposures"] == 0
    assert [s.exposures for s in store.exposure_sums(EVERYTHING)] == [1]


def test_a_slice_is_bounded_and_nothing_is_rejected_twice_in_between(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer has other things to do between two slices."""
    monkeypatch.setattr(retention, "SLICE", 10)
    old = [exposure(n, at_ms=n, user=f"{n:016x}" + "0" * 16) for n in range(1, 36)]
    store.record(batch(SPLIT, *old))
    removed: list[int] = []
    while count := store.prune(NOW_MS, Retention(rows_days=1, sums_days=1)):
        removed.append(count)
        store.record(batch(*old))
        assert [s.exposures for s in store.exposure_sums(EVERYTHING)] in ([35], [])
    assert set(removed[:-1]) == {10}
    assert all(counts(url)[name] == 0 for name in (*ROWS, *SUMS))


@pytest.mark.parametrize("days", [(0, 400), (30, 29)])
def test_a_retention_that_makes_no_sense_is_rejected(days: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{days[0]} days and sums for {days[1]}"):
        Retention(*days)


def test_the_time_of_a_row_that_is_listed_is_no_older_than_the_horizon(
    store: Store, ages: list[Any]
) -> None:
    prune(store)
    oldest = min(s.exposure.at_ms for s in store.exposures(since_ms=0, limit=100))
    assert oldest == NOW_MS - 30 * DAY_MS
