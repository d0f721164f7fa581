"""Feedback is joined with the exposure of its prediction."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.recording.records import Exposure, Feedback
from serve_app.store.columns import Categorical
from serve_app.store.scope import EVERYTHING, Scope
from serve_app.store.store import Store
from serve_app.store.units import hash64
from tests.factories import (
    EXPOSURE,
    OTHER_WRITER,
    WRITER,
    adoption,
    batch,
    exposure,
    feedback,
    split_adoption,
)
from tests.rows import delete_all, stored

AB_TEST = split_adoption()
MINUTE_MS = 60_000


def rows(store: Store, scope: Scope = EVERYTHING) -> list[dict[str, Any]]:
    """Field -> value of every prediction with feedback, oldest first."""
    found = store.labelled_feedback(scope)
    columns = {
        name: [column.categories[code] for code in column.codes]
        if isinstance(column := getattr(found, name), Categorical)
        else column.tolist()
        for name in found.__slots__
    }
    decoded = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return sorted(decoded, key=lambda row: row["at_ms"])


def test_a_row_has_the_values_of_exposure_and_feedback(store: Store) -> None:
    store.record(batch(AB_TEST, exposure(1), feedback(EXPOSURE.at_ms + 5)))
    assert rows(store) == [
        {
            "epoch": 1,
            "unit": hash64("c4" * 16),
            "assigned": "v2",
            "reason": "split",
            "region": "AU",
            "served": "v1",
            "predicted_label": "cat",
            "reported_label": "dog",
            "at_ms": EXPOSURE.at_ms,
            "reported_at_ms": EXPOSURE.at_ms + 5,
            "correct": 0,
            "complaint": 1,
            "rating": 2,
            "has_unknown_label": False,
        }
    ]


def test_an_unknown_label_is_no_truth(store: Store) -> None:
    told = feedback(EXPOSURE.at_ms + 5, label=None, correct=None, unknown_label="kangaroo")
    store.record(batch(AB_TEST, exposure(1), told))
    (row,) = rows(store)
    assert (row["reported_label"], row["correct"], row["has_unknown_label"]) == ("", -1, True)


def test_absent_values_differ_from_false(store: Store) -> None:
    no_values = {"region": None, "label": None, "assigned": None, "user": None}
    not_reported = {"label": None, "correct": None, "complaint": None, "rating": None}
    store.record(batch(exposure(1, **no_values), feedback(5, **not_reported)))
    (row,) = rows(store)
    assert (row["epoch"], row["unit"], row["assigned"], row["region"]) == (0, 0, "", "")
    assert (row["predicted_label"], row["reported_label"]) == ("", "")
    assert (row["correct"], row["complaint"], row["rating"]) == (-1, -1, 0)


@pytest.mark.parametrize(
    ("changes", "correct"),
    [
        ({"label": "cat", "correct": None}, 1),
        ({"label": "dog", "correct": None}, 0),
        ({"label": None, "correct": True}, 1),
        ({"label": None, "correct": False}, 0),
    ],
)
def test_a_reported_label_implies_whether_the_prediction_is_correct(
    store: Store, changes: dict[str, Any], correct: int
) -> None:
    store.record(batch(exposure(1, label="cat"), feedback(5, **changes)))
    assert [row["correct"] for row in rows(store)] == [correct]


def test_control_characters_are_removed_from_reported_labels(store: Store, url: str) -> None:
    """They separate columns; the feedback itself keeps them."""
    odd = "ko\x1eala\x1f, b\nig Käfer"
    store.record(batch(exposure(1), exposure(2), feedback(5, label=odd), feedback(5, sequence=2)))
    assert sorted(row["reported_label"] for row in rows(store)) == ["dog", "koala, big Käfer"]
    assert odd in {row.label for row in stored(url, Feedback)}


ENTRIES: dict[str, Exposure | Feedback] = {
    "exposure": exposure(1),
    "first feedback": feedback(5, rating=1),
    "last feedback": feedback(9, rating=4),
}


@pytest.mark.parametrize("order", list(permutations(ENTRIES)), ids=",".join)
def test_the_last_feedback_counts_in_any_order_of_delivery(
    store: Store, order: tuple[str, ...]
) -> None:
    store.record(batch(adoption("a", 0)))
    for name in order:
        store.record(batch(ENTRIES[name]))
    assert [(row["reported_at_ms"], row["rating"]) for row in rows(store)] == [(9, 4)]


@pytest.mark.parametrize(
    ("times_s", "expected_s"), [((5, 60), 60), ((5, 60, 61), 60), ((61, 90), 90)]
)
@pytest.mark.parametrize("is_reversed", [False, True])
def test_late_feedback_counts_only_without_timely_feedback(
    store: Store, times_s: tuple[int, ...], expected_s: int, is_reversed: bool
) -> None:
    store.record(batch(split_adoption(outcome={"window": "1m"}), exposure(1, at_ms=0)))
    for time_s in reversed(times_s) if is_reversed else times_s:
        store.record(batch(feedback(1000 * time_s, answered_at_ms=0, label=str(time_s))))
    assert [row["reported_at_ms"] for row in rows(store)] == [1000 * expected_s]


def test_a_row_needs_exposure_and_feedback(store: Store) -> None:
    store.record(batch(exposure(1), feedback(5, sequence=2), feedback(5, writer=OTHER_WRITER)))
    assert rows(store) == []


def test_a_batch_may_have_feedback_on_exposures_of_several_writers(store: Store) -> None:
    for writer in (WRITER, OTHER_WRITER):
        store.record(batch(exposure(1), exposure(2), writer=writer))
    received = [feedback(5, writer=w, sequence=n) for w in (WRITER, OTHER_WRITER) for n in (1, 2)]
    store.record(batch(*received))
    assert len(rows(store)) == 4


SCOPES = [
    (EVERYTHING, {1, 2, 3}),
    (Scope(since_ms=11), {2, 3}),
    (Scope(until_ms=11), {1}),
    (Scope(epochs=[2]), {2}),
    (Scope(rule_ids=["cccccccc"]), {3}),
    (Scope(regions=["AU"]), {1, 3}),
]


@pytest.mark.parametrize(("scope", "expected"), SCOPES, ids=map(str, range(len(SCOPES))))
def test_a_scope_selects_by_time_epoch_rule_and_region_of_the_prediction(
    store: Store, scope: Scope, expected: set[int]
) -> None:
    facts: dict[int, dict[str, Any]] = {
        1: {"at_ms": 10, "rule_id": "aaaaaaaa"},
        2: {"at_ms": 11, "rule_id": "bbbbbbbb", "region": "NZ"},
        3: {"at_ms": 12, "rule_id": "cccccccc"},
    }
    store.record(batch(adoption("a", 0), adoption("b", 11)))
    store.record(batch(*(exposure(n, **fact) for n, fact in facts.items())))
    store.record(batch(*(feedback(99, sequence=n, rating=n) for n in facts)))
    assert {row["rating"] for row in rows(store, scope)} == expected


exposure_rows = st.builds(exposure, st.integers(1, 3), writer=st.just(WRITER))
feedback_rows = st.builds(
    feedback, st.integers(0, 9), sequence=st.integers(1, 3), rating=st.integers(1, 5)
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sent=st.lists(exposure_rows | feedback_rows, max_size=10), data=st.data())
def test_each_stored_exposure_is_joined_with_its_last_feedback(
    store: Store, url: str, sent: list[Exposure | Feedback], data: st.DataObject
) -> None:
    """However the rows are batched, and whichever batches are repeated."""
    delete_all(url)
    store.record(batch(adoption("a", 0)))
    while sent:
        size = data.draw(st.integers(1, len(sent)))
        exposures = {e.sequence: e for e in sent[:size] if isinstance(e, Exposure)}
        received = [f for f in sent[:size] if isinstance(f, Feedback)]
        for _ in range(data.draw(st.integers(1, 2))):
            store.record(batch(*exposures.values(), *received))
        sent = sent[size:]
    exposed = {e.sequence for e in stored(url, Exposure)}
    last: dict[int, Feedback] = {}
    for row in reversed(stored(url, Feedback)):
        last[row.sequence] = row
    expected = sorted((f.at_ms, f.rating) for n, f in last.items() if n in exposed)
    assert sorted((row["reported_at_ms"], row["rating"]) for row in rows(store)) == expected
