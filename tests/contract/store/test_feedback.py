"""What becomes of feedback."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.domain import Feedback
from serve_app.recording.batch import Adoption
from serve_app.store.feedback import MOST_WORDS
from serve_app.store.store import Store
from tests.contract.store.examples import (
    OTHER_WRITER,
    WRITER,
    batch,
    contents,
    empty,
    exposure,
    feedback,
)

OPTIONAL = [field.name for field in fields(Feedback) if "None" in str(field.type)]
ON_ONE_DATABASE = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def words(store: Store) -> list[tuple[int, str | None]]:
    """When each word came, and the label it gives; the newest first."""
    return [(f.at_ms, f.label) for f in store.feedback(since_ms=0, limit=100)]


@pytest.mark.parametrize("changes", [{}, dict.fromkeys(OPTIONAL)], ids=["full", "empty"])
def test_feedback_comes_back_as_it_was(store: Store, changes: dict[str, Any]) -> None:
    one = feedback(5, **changes)
    store.record(batch(one))
    assert store.feedback(since_ms=0, limit=10) == [one]


def test_feedback_is_listed_from_the_newest_back_to_a_time(store: Store) -> None:
    store.record(batch(*(feedback(n, sequence=n) for n in (1, 2, 3, 4))))
    assert [f.at_ms for f in store.feedback(since_ms=2, limit=2)] == [4, 3]
    assert [f.at_ms for f in store.feedback(since_ms=2, limit=10)] == [4, 3, 2]


def test_the_same_again_adds_nothing(store: Store) -> None:
    store.record(batch(feedback(5)))
    store.record(batch(feedback(9)))
    assert store.feedback(since_ms=0, limit=10) == [feedback(5)]


@pytest.mark.parametrize(
    "changes", [{"label": "cow"}, {"correct": None}, {"rating": 3}, {"complaint": False}]
)
def test_another_word_is_kept_beside_the_first_and_is_the_last(
    store: Store, changes: dict[str, Any]
) -> None:
    store.record(batch(feedback(5)))
    store.record(batch(feedback(9, **changes)))
    assert store.feedback(since_ms=0, limit=10) == [feedback(9, **changes), feedback(5)]


def test_a_word_that_is_taken_back_is_the_last_again(store: Store) -> None:
    store.record(batch(feedback(1, label="cat"), feedback(2, label="dog")))
    store.record(batch(feedback(3, label="cat")))
    assert words(store) == [(3, "cat"), (2, "dog"), (1, "cat")]


def test_a_word_that_arrives_late_takes_its_place_in_time(store: Store) -> None:
    """The spool may hold what the user has long corrected."""
    store.record(batch(feedback(9, label="dog")))
    store.record(batch(feedback(5, label="cat")))
    assert words(store) == [(9, "dog"), (5, "cat")]


def test_two_words_of_one_millisecond_are_both_kept(store: Store) -> None:
    store.record(batch(feedback(5, label="cat"), feedback(5, label="dog")))
    store.record(batch(feedback(5, label="cow")))
    assert words(store) == [(7, "cow"), (6, "dog"), (5, "cat")]


def test_each_answer_has_feedback_of_its_own(store: Store) -> None:
    same = [feedback(5), feedback(5, sequence=2), feedback(5, writer=OTHER_WRITER)]
    store.record(batch(*same))
    assert len(store.feedback(since_ms=0, limit=10)) == 3


def test_feedback_alone_tells_nothing_of_its_writer(store: Store) -> None:
    store.record(batch(feedback(5)))
    assert store.recording().writers == ()
    store.record(batch(exposure(1), last_sequence=3))
    before = store.recording()
    store.record(batch(feedback(9, label="cow"), last_sequence=8, dropped=2))
    assert store.recording() == before


def test_feedback_may_come_with_exposures(store: Store) -> None:
    store.record(batch(exposure(1), feedback(5)))
    assert (store.recording().stored, len(store.feedback(since_ms=0, limit=10))) == (1, 1)


def test_threads_that_tell_the_same_at_once_store_it_once(store: Store) -> None:
    """A delivery that was given up may still run when the spool is drained."""
    told = [batch(feedback(n, sequence=n)) for n in range(1, 20)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store.record, told * 2))
    assert len(store.feedback(since_ms=0, limit=100)) == 19


def said(times_ms: list[int]) -> list[Feedback]:
    """Words that all differ, on two answers in turn."""
    return [
        feedback(at_ms, label=f"animal {n}", writer=(WRITER, OTHER_WRITER)[n % 2])
        for n, at_ms in enumerate(times_ms)
    ]


@ON_ONE_DATABASE
@given(
    told=st.lists(st.integers(0, 30), unique=True, max_size=6).map(said),
    data=st.data(),
)
def test_words_may_arrive_in_any_order(
    store: Store, url: str, told: list[Feedback], data: st.DataObject
) -> None:
    empty(url)
    for one in data.draw(st.permutations(told)):
        store.record(batch(one))
    stored = store.feedback(since_ms=0, limit=100)
    assert stored == sorted(told, key=lambda f: f.at_ms, reverse=True)


@ON_ONE_DATABASE
@given(
    told=st.lists(st.integers(0, 3), min_size=1, max_size=6).map(said),
    data=st.data(),
)
def test_a_word_that_comes_again_changes_nothing(
    store: Store, url: str, told: list[Feedback], data: st.DataObject
) -> None:
    """However late it comes, and however many share its millisecond."""
    empty(url)
    for one in told:
        store.record(batch(one))
    before = contents(url)
    assert len(before["feedback"]) == len(told)
    store.record(batch(data.draw(st.sampled_from(told))))
    assert contents(url) == before


@ON_ONE_DATABASE
@given(labels=st.lists(st.sampled_from(["cat", "dog"]), min_size=1, max_size=8))
def test_the_last_word_counts(store: Store, url: str, labels: list[str]) -> None:
    """Of words in their order, those are stored that differ from the one before."""
    empty(url)
    for at_ms, label in enumerate(labels):
        store.record(batch(feedback(at_ms, label=label)))
    changed = [(n, label) for n, label in enumerate(labels) if n == 0 or label != labels[n - 1]]
    assert words(store) == changed[::-1]
    assert words(store)[0][1] == labels[-1]


def test_of_many_words_on_an_answer_the_first_and_the_last_are_kept(store: Store) -> None:
    """Whoever changes his mind a thousand times keeps nobody else waiting."""
    for n in range(3 * MOST_WORDS):
        store.record(batch(feedback(n, label=f"label {n}")))
    kept = [*range(MOST_WORDS - 1), 3 * MOST_WORDS - 1]
    assert [at_ms for at_ms, _ in words(store)] == kept[::-1]
    many = [feedback(1000 + n, label=f"more {n}") for n in range(3 * MOST_WORDS)]
    store.record(batch(*many))
    store.record(batch(*many))
    assert [at_ms for at_ms, _ in words(store)] == [many[-1].at_ms, *kept[-2::-1]]


def test_a_late_word_takes_the_place_of_none_that_came_in_time(store: Store) -> None:
    """However many there were."""
    rule = {"kind": "ab_test", "experiment": "k", "unit": "user", "outcome": {"window": "1m"}}
    store.record(batch(Adoption(0, "aaaaaaaa", json.dumps(rule))))
    answer = {"answered_at_ms": 0}
    store.record(batch(*(feedback(n, label=f"{n}", **answer) for n in range(MOST_WORDS))))
    late = [feedback(60_001 + n, label=f"late {n}", **answer) for n in range(3)]
    for one in late:
        store.record(batch(one))
    assert [at_ms for at_ms, _ in words(store)] == [*range(MOST_WORDS)][::-1]
    store.record(batch(feedback(60_000, label="just in time", **answer)))
    assert words(store)[:2] == [(60_000, "just in time"), (MOST_WORDS - 2, f"{MOST_WORDS - 2}")]
