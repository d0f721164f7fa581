"""Feedback: what users said of answers; the last word counts, and those before it are kept."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import astuple, replace
from operator import attrgetter

from sqlalchemy import Connection, select

from serve_app.domain import Exposure, Feedback
from serve_app.recording.batch import Batch
from serve_app.store import bulk, schema
from serve_app.store.epochs import Timeline

_feedback = schema.feedback.c
MOST_WORDS = 20  # that are kept of an answer
_BODY = ("label", "correct", "rating", "complaint")
_TIME = attrgetter("at_ms")


def add(connection: Connection, batch: Batch, timeline: Timeline) -> None:
    """Store what the feedback of a batch adds to what was said of the same answers before.

    What repeats the word before it adds nothing; so does a batch that comes again. Words may
    arrive in any order, but for one case: of yes, no and yes again, where no arrives after both,
    the second yes was a repetition when it came, and no is left as the last word. Of more than
    `MOST_WORDS` on an answer, the last one replaces the one before it.
    """
    said = feedback_on(connection, batch.feedback)
    before = {answer: tuple(words) for answer, words in said.items()}
    for told in batch.feedback:
        words = said.setdefault((told.writer, told.sequence), [])
        if word := _news(words, told):
            insort(words, word, key=_TIME)
        if len(words) > MOST_WORDS:
            words.pop(_least(words, timeline.split(told.rule_id).window_ms))
    old = [w for answer, words in before.items() for w in words if w not in said[answer]]
    new = [w for answer, words in said.items() for w in words if w not in before.get(answer, ())]
    keys = [(word.writer, word.sequence, word.at_ms) for word in old]
    bulk.remove(connection, schema.feedback, keys)
    bulk.insert(connection, schema.feedback, [astuple(word) for word in new])


def is_timely(word: Feedback, window_ms: int | None) -> bool:
    """Whether it came within the window of its answer's rule."""
    return window_ms is None or word.at_ms <= word.answered_at_ms + window_ms


def feedback_on(
    connection: Connection, answers: Iterable[Exposure | Feedback]
) -> dict[tuple[str, int], list[Feedback]]:
    """What was said of answers, by writer and number; the last word last."""
    said: defaultdict[tuple[str, int], list[Feedback]] = defaultdict(list)
    for writer, sequences in by_writer(answers).items():
        rows = connection.execute(
            select(schema.feedback)
            .where(_feedback.writer == writer, _feedback.sequence.in_(sequences))
            .order_by(_feedback.at_ms)
        )
        for row in rows:
            said[writer, row.sequence].append(Feedback(*row))
    return dict(said)


def by_writer(answers: Iterable[Exposure | Feedback]) -> dict[str, set[int]]:
    """The numbers of answers.

    SQLite looks up numbers of one writer; for a list of both it would read all of the table.
    """
    numbers: defaultdict[str, set[int]] = defaultdict(set)
    for answer in answers:
        numbers[answer.writer].add(answer.sequence)
    return dict(numbers)


def since(connection: Connection, since_ms: int, limit: int) -> list[Feedback]:
    """What came at `since_ms` or later, the newest first."""
    rows = connection.execute(
        select(schema.feedback)
        .where(_feedback.at_ms >= since_ms)
        .order_by(_feedback.at_ms.desc(), _feedback.writer, _feedback.sequence.desc())
        .limit(limit)
    )
    return [Feedback(**row) for row in rows.mappings()]


def _news(words: list[Feedback], told: Feedback) -> Feedback | None:
    """What is told, if it is no repetition of the word before it."""
    while before := words[: bisect_right(words, told.at_ms, key=_TIME)]:
        if all(getattr(before[-1], name) == getattr(told, name) for name in _BODY):
            return None
        if before[-1].at_ms < told.at_ms:
            break
        told = replace(told, at_ms=told.at_ms + 1)  # two words in one millisecond
    return told


def _least(words: list[Feedback], window_ms: int | None) -> int:
    """The word that matters least: the one before the last, unless that was the last in time."""
    late = [not is_timely(word, window_ms) for word in words[-2:]]
    return -1 if late == [False, True] else -2
