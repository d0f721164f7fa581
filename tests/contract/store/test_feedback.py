"""Which feedback rows are stored, in which order, and how many."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.recording.records import Feedback
from serve_app.store.feedback import MAX_ROWS_PER_PREDICTION
from serve_app.store.store import Store
from tests.factories import OTHER_WRITER, WRITER, batch, exposure, feedback, split_adoption
from tests.rows import contents, delete_all, stored

OPTIONAL = [field.name for field in fields(Feedback) if "None" in str(field.type)]
ON_ONE_DATABASE = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def stored_labels(url: str) -> list[tuple[int, str | None]]:
    """Time and label of every feedback row, newest first."""
    return [(f.at_ms, f.label) for f in stored(url, Feedback)]


@pytest.mark.parametrize("changes", [{}, dict.fromkeys(OPTIONAL)], ids=["full", "empty"])
def test_feedback_is_read_as_recorded(store: Store, url: str, changes: dict[str, Any]) -> None:
    one = feedback(5, **changes)
    store.record(batch(one))
    assert stored(url, Feedback) == [one]


def test_repeated_feedback_adds_nothing(store: Store, url: str) -> None:
    store.record(batch(feedback(5)))
    store.record(batch(feedback(9)))
    assert stored(url, Feedback) == [feedback(5)]


@pytest.mark.parametrize(
    "changes", [{"label": "cow"}, {"correct": None}, {"rating": 3}, {"complaint": False}]
)
def test_different_feedback_is_added_to_the_first(
    store: Store, url: str, changes: dict[str, Any]
) -> None:
    store.record(batch(feedback(5)))
    store.record(batch(feedback(9, **changes)))
    assert stored(url, Feedback) == [feedback(9, **changes), feedback(5)]


def test_feedback_that_is_changed_back_is_added(store: Store, url: str) -> None:
    store.record(batch(feedback(1, label="cat"), feedback(2, label="dog")))
    store.record(batch(feedback(3, label="cat")))
    assert stored_labels(url) == [(3, "cat"), (2, "dog"), (1, "cat")]


def test_feedback_that_is_delivered_late_is_ordered_by_its_time(store: Store, url: str) -> None:
    """The spool may hold feedback that the user has corrected since."""
    store.record(batch(feedback(9, label="dog")))
    store.record(batch(feedback(5, label="cat")))
    assert stored_labels(url) == [(9, "dog"), (5, "cat")]


def test_different_feedback_of_one_millisecond_is_kept(store: Store, url: str) -> None:
    store.record(batch(feedback(5, label="cat"), feedback(5, label="dog")))
    store.record(batch(feedback(5, label="cow")))
    assert stored_labels(url) == [(7, "cow"), (6, "dog"), (5, "cat")]


def test_feedback_is_stored_per_prediction(store: Store, url: str) -> None:
    same_values = [feedback(5), feedback(5, sequence=2), feedback(5, writer=OTHER_WRITER)]
    store.record(batch(*same_values))
    assert len(stored(url, Feedback)) == 3


def test_feedback_does_not_change_the_counters_of_a_writer(store: Store) -> None:
    store.record(batch(feedback(5)))
    assert store.recording().writers == ()
    store.record(batch(exposure(1), last_sequence=3))
    before = store.recording()
    store.record(batch(feedback(9, label="cow"), last_sequence=8, dropped=2))
    assert store.recording() == before


def test_a_batch_may_have_exposures_and_feedback(store: Store, url: str) -> None:
    store.record(batch(exposure(1), feedback(5)))
    assert (store.recording().stored, len(stored(url, Feedback))) == (1, 1)


def test_concurrent_records_store_feedback_once(store: Store, url: str) -> None:
    """A delivery that timed out may still run when the spool is drained."""
    batches = [batch(feedback(n, sequence=n)) for n in range(1, 20)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store.record, batches * 2))
    assert len(stored(url, Feedback)) == 19


def distinct_feedback(times_ms: list[int]) -> list[Feedback]:
    """Feedback with distinct labels, on two predictions in turn."""
    return [
        feedback(at_ms, label=f"animal {n}", writer=(WRITER, OTHER_WRITER)[n % 2])
        for n, at_ms in enumerate(times_ms)
    ]


@ON_ONE_DATABASE
@given(
    rows=st.lists(st.integers(0, 30), unique=True, max_size=6).map(distinct_feedback),
    data=st.data(),
)
def test_the_order_of_delivery_does_not_matter(
    store: Store, url: str, rows: list[Feedback], data: st.DataObject
) -> None:
    delete_all(url)
    for one in data.draw(st.permutations(rows)):
        store.record(batch(one))
    assert stored(url, Feedback) == sorted(rows, key=lambda f: f.at_ms, reverse=True)


@ON_ONE_DATABASE
@given(
    rows=st.lists(st.integers(0, 3), min_size=1, max_size=6).map(distinct_feedback),
    data=st.data(),
)
def test_feedback_that_is_delivered_again_changes_nothing(
    store: Store, url: str, rows: list[Feedback], data: st.DataObject
) -> None:
    """However late it is delivered, and however many rows share its millisecond."""
    delete_all(url)
    for one in rows:
        store.record(batch(one))
    before = contents(url)
    assert len(before["feedback"]) == len(rows)
    store.record(batch(data.draw(st.sampled_from(rows))))
    assert contents(url) == before


@ON_ONE_DATABASE
@given(labels=st.lists(st.sampled_from(["cat", "dog"]), min_size=1, max_size=8))
def test_feedback_is_stored_where_it_differs_from_the_row_before(
    store: Store, url: str, labels: list[str]
) -> None:
    delete_all(url)
    for at_ms, label in enumerate(labels):
        store.record(batch(feedback(at_ms, label=label)))
    changed = [(n, label) for n, label in enumerate(labels) if n == 0 or label != labels[n - 1]]
    assert stored_labels(url) == changed[::-1]
    assert stored_labels(url)[0][1] == labels[-1]


def test_the_first_rows_and_the_last_row_on_a_prediction_are_kept(store: Store, url: str) -> None:
    """The number of rows on a prediction is bounded."""
    for n in range(3 * MAX_ROWS_PER_PREDICTION):
        store.record(batch(feedback(n, label=f"label {n}")))
    kept = [*range(MAX_ROWS_PER_PREDICTION - 1), 3 * MAX_ROWS_PER_PREDICTION - 1]
    assert [at_ms for at_ms, _ in stored_labels(url)] == kept[::-1]
    many = [feedback(1000 + n, label=f"more {n}") for n in range(3 * MAX_ROWS_PER_PREDICTION)]
    store.record(batch(*many))
    store.record(batch(*many))
    assert [at_ms for at_ms, _ in stored_labels(url)] == [many[-1].at_ms, *kept[-2::-1]]


def test_late_feedback_does_not_replace_timely_feedback(store: Store, url: str) -> None:
    """Not even when the number of rows is at its limit."""
    store.record(batch(split_adoption(outcome={"window": "1m"})))
    prediction = {"answered_at_ms": 0}
    store.record(
        batch(*(feedback(n, label=f"{n}", **prediction) for n in range(MAX_ROWS_PER_PREDICTION)))
    )
    late = [feedback(60_001 + n, label=f"late {n}", **prediction) for n in range(3)]
    for one in late:
        store.record(batch(one))
    assert [at_ms for at_ms, _ in stored_labels(url)] == [*range(MAX_ROWS_PER_PREDICTION)][::-1]
    store.record(batch(feedback(60_000, label="just in time", **prediction)))
    assert stored_labels(url)[:2] == [
        (60_000, "just in time"),
        (MAX_ROWS_PER_PREDICTION - 2, f"{MAX_ROWS_PER_PREDICTION - 2}"),
    ]
