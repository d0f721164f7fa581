"""Feedback: the rows on each prediction. The last row counts; the rows before it are kept."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import astuple, replace
from operator import attrgetter

from sqlalchemy import Connection, select

from serve_app.recording.batch import Batch
from serve_app.recording.records import Exposure, Feedback
from serve_app.store import bulk, schema
from serve_app.store.epochs import Timeline

_feedback = schema.feedback.c
MAX_ROWS_PER_PREDICTION = 20
_VALUES = ("label", "correct", "rating", "complaint", "unknown_label")
_TIME = attrgetter("at_ms")


def add_feedback(connection: Connection, batch: Batch, timeline: Timeline) -> None:
    """Store the feedback of a batch, except rows that repeat the row before them.

    A batch that is delivered twice adds nothing. Rows may arrive in any order, with one exception:
    of yes (1 s), no (2 s), yes (3 s), when the no arrives last, the second yes was dropped as a
    repetition, and no is the last row. When a prediction has more than `MAX_ROWS_PER_PREDICTION`
    rows, the last row replaces the one before it.
    """
    rows_on = feedback_on(connection, batch.feedback)
    before = {prediction: tuple(rows) for prediction, rows in rows_on.items()}
    for feedback in batch.feedback:
        rows = rows_on.setdefault((feedback.writer, feedback.sequence), [])
        if row := _new_row(rows, feedback):
            insort(rows, row, key=_TIME)
        if len(rows) > MAX_ROWS_PER_PREDICTION:
            rows.pop(_surplus_index(rows, timeline.split(feedback.rule_id).window_ms))
    old = [row for key, rows in before.items() for row in rows if row not in rows_on[key]]
    new = [row for key, rows in rows_on.items() for row in rows if row not in before.get(key, ())]
    keys = [(row.writer, row.sequence, row.at_ms) for row in old]
    bulk.remove(connection, schema.feedback, keys)
    bulk.insert(connection, schema.feedback, [astuple(row) for row in new])


def is_timely(feedback: Feedback, window_ms: int | None) -> bool:
    """Whether feedback came within the window of its prediction's rule."""
    return window_ms is None or feedback.at_ms <= feedback.answered_at_ms + window_ms


def feedback_on(
    connection: Connection, predictions: Iterable[Exposure | Feedback]
) -> dict[tuple[str, int], list[Feedback]]:
    """The stored feedback on predictions, by writer and sequence; oldest first."""
    found: defaultdict[tuple[str, int], list[Feedback]] = defaultdict(list)
    for writer, sequences in sequences_by_writer(predictions).items():
        rows = connection.execute(
            select(schema.feedback)
            .where(_feedback.writer == writer, _feedback.sequence.in_(sequences))
            .order_by(_feedback.at_ms)
        )
        for row in rows:
            found[writer, row.sequence].append(Feedback(*row))
    return dict(found)


def sequences_by_writer(predictions: Iterable[Exposure | Feedback]) -> dict[str, set[int]]:
    """The sequence numbers of predictions, by writer.

    SQLite uses the index for the sequences of one writer, but scans the table for a list of
    (writer, sequence).
    """
    sequences: defaultdict[str, set[int]] = defaultdict(set)
    for prediction in predictions:
        sequences[prediction.writer].add(prediction.sequence)
    return dict(sequences)


def _new_row(rows: list[Feedback], feedback: Feedback) -> Feedback | None:
    """The row to add; None if the feedback repeats the row before it."""
    while before := rows[: bisect_right(rows, feedback.at_ms, key=_TIME)]:
        if all(getattr(before[-1], name) == getattr(feedback, name) for name in _VALUES):
            return None
        if before[-1].at_ms < feedback.at_ms:
            break
        feedback = replace(feedback, at_ms=feedback.at_ms + 1)  # `at_ms` is part of the key
    return feedback


def _surplus_index(rows: list[Feedback], window_ms: int | None) -> int:
    """The row to remove: the last but one; the last if only that one is late."""
    late = [not is_timely(row, window_ms) for row in rows[-2:]]
    return -1 if late == [False, True] else -2
