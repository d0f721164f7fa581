"""Feedback joined with the exposures that it is about."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.domain import Exposure, Feedback
from serve_app.recording.batch import Adoption
from serve_app.store.columns import Categorical
from serve_app.store.scope import EVERYTHING, Scope
from serve_app.store.store import Store
from serve_app.store.units import number
from tests.contract.store.examples import (
    EXPOSURE,
    OTHER_WRITER,
    WRITER,
    adoption,
    batch,
    empty,
    exposure,
    feedback,
)

AB_TEST = Adoption(
    0, "aaaaaaaa", json.dumps({"kind": "ab_test", "experiment": "k", "unit": "user"})
)
MINUTE_MS = 60_000


def rows(store: Store, scope: Scope = EVERYTHING) -> list[dict[str, Any]]:
    """Field -> value of every answer, by its time."""
    found = store.labelled_feedback(scope)
    columns = {
        name: [column.names[code] for code in column.codes]
        if isinstance(column := getattr(found, name), Categorical)
        else column.tolist()
        for name in found.__slots__
    }
    turned = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return sorted(turned, key=lambda row: row["at_ms"])


def test_an_answer_is_judged_by_what_both_say(store: Store) -> None:
    store.record(batch(AB_TEST, exposure(1), feedback(EXPOSURE.at_ms + 5)))
    assert rows(store) == [
        {
            "epoch": 1,
            "unit": number("c4" * 16),
            "assigned": "v2",
            "reason": "split",
            "region": "AU",
            "answered": "cat",
            "told": "dog",
            "at_ms": EXPOSURE.at_ms,
            "told_at_ms": EXPOSURE.at_ms + 5,
            "correct": 0,
            "complaint": 1,
            "rating": 2,
        }
    ]


def test_what_nobody_said_is_told_apart_from_no(store: Store) -> None:
    nothing = {"region": None, "label": None, "assigned": None, "user": None}
    unsaid = {"label": None, "correct": None, "complaint": None, "rating": None}
    store.record(batch(exposure(1, **nothing), feedback(5, **unsaid)))
    (row,) = rows(store)
    assert (row["epoch"], row["unit"], row["assigned"], row["region"]) == (0, 0, "", "")
    assert (row["answered"], row["told"]) == ("", "")
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
def test_a_label_says_whether_the_answer_was_correct(
    store: Store, changes: dict[str, Any], correct: int
) -> None:
    store.record(batch(exposure(1, label="cat"), feedback(5, **changes)))
    assert [row["correct"] for row in rows(store)] == [correct]


def test_no_label_is_taken_for_two(store: Store) -> None:
    """A user may send any characters; the word itself is kept as it was."""
    odd = "ko\x1eala\x1f, b\nig Käfer"
    store.record(batch(exposure(1), exposure(2), feedback(5, label=odd), feedback(5, sequence=2)))
    assert sorted(row["told"] for row in rows(store)) == ["dog", "koala, big Käfer"]
    assert odd in {word.label for word in store.feedback(since_ms=0, limit=10)}


ENTRIES: dict[str, Exposure | Feedback] = {
    "exposure": exposure(1),
    "first word": feedback(5, rating=1),
    "last word": feedback(9, rating=4),
}


@pytest.mark.parametrize("order", list(permutations(ENTRIES)), ids=",".join)
def test_the_last_word_counts_in_whatever_order_it_all_arrives(
    store: Store, order: tuple[str, ...]
) -> None:
    store.record(batch(adoption("a", 0)))
    for name in order:
        store.record(batch(ENTRIES[name]))
    assert [(row["told_at_ms"], row["rating"]) for row in rows(store)] == [(9, 4)]


@pytest.mark.parametrize(("times_s", "counts"), [((5, 60), 60), ((5, 60, 61), 60), ((61, 90), 90)])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_word_after_the_window_replaces_none_that_came_in_time(
    store: Store, times_s: tuple[int, ...], counts: int, backwards: bool
) -> None:
    rule = {"kind": "ab_test", "experiment": "k", "unit": "user", "outcome": {"window": "1m"}}
    store.record(batch(Adoption(0, "aaaaaaaa", json.dumps(rule)), exposure(1, at_ms=0)))
    for time_s in reversed(times_s) if backwards else times_s:
        store.record(batch(feedback(1000 * time_s, answered_at_ms=0, label=str(time_s))))
    assert [row["told_at_ms"] for row in rows(store)] == [1000 * counts]


def test_neither_alone_makes_a_judged_answer(store: Store) -> None:
    store.record(batch(exposure(1), feedback(5, sequence=2), feedback(5, writer=OTHER_WRITER)))
    assert rows(store) == []


def test_a_batch_of_feedback_may_be_about_the_answers_of_several_writers(store: Store) -> None:
    for writer in (WRITER, OTHER_WRITER):
        store.record(batch(exposure(1), exposure(2), writer=writer))
    told = [feedback(5, writer=w, sequence=n) for w in (WRITER, OTHER_WRITER) for n in (1, 2)]
    store.record(batch(*told))
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
def test_answers_are_found_by_their_own_time_epoch_and_region(
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


answers = st.builds(exposure, st.integers(1, 3), writer=st.just(WRITER))
words = st.builds(feedback, st.integers(0, 9), sequence=st.integers(1, 3), rating=st.integers(1, 5))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sent=st.lists(answers | words, max_size=10), data=st.data())
def test_what_is_judged_is_the_last_word_on_every_answer_that_is_there(
    store: Store, url: str, sent: list[Exposure | Feedback], data: st.DataObject
) -> None:
    """However it is cut into batches, and whatever comes again."""
    empty(url)
    store.record(batch(adoption("a", 0)))
    while sent:
        size = data.draw(st.integers(1, len(sent)))
        first = {e.sequence: e for e in sent[:size] if isinstance(e, Exposure)}
        told = [f for f in sent[:size] if isinstance(f, Feedback)]
        for _ in range(data.draw(st.integers(1, 2))):
            store.record(batch(*first.values(), *told))
        sent = sent[size:]
    there = {s.exposure.sequence for s in store.exposures(since_ms=0, limit=100)}
    last: dict[int, Feedback] = {}
    for word in reversed(store.feedback(since_ms=0, limit=100)):
        last[word.sequence] = word
    expected = sorted((w.at_ms, w.rating) for n, w in last.items() if n in there)
    assert sorted((row["told_at_ms"], row["rating"]) for row in rows(store)) == expected
