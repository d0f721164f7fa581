"""Feedback: what users said of answers, every word of it; the last one counts."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from serve_app.domain import Feedback
from serve_app.recording.batch import Batch
from serve_app.store import schema

_feedback = schema.feedback.c
_BODY = ("label", "correct", "rating", "complaint")


def add(connection: Connection, batch: Batch) -> None:
    """Store what the feedback of a batch adds to what was said of the same answers before.

    What repeats the word before it adds nothing; so does a batch that comes again. Words may
    arrive in any order, but for one case: of yes, no and yes again, where no arrives after both,
    the second yes was a repetition when it came, and no is left as the last word.
    """
    for feedback in batch.feedback:
        _add(connection, feedback)


def since(connection: Connection, since_ms: int, limit: int) -> list[Feedback]:
    """What came at `since_ms` or later, the newest first."""
    rows = connection.execute(
        select(schema.feedback)
        .where(_feedback.at_ms >= since_ms)
        .order_by(_feedback.at_ms.desc(), _feedback.writer, _feedback.sequence.desc())
        .limit(limit)
    )
    return [Feedback(**row) for row in rows.mappings()]


def _add(connection: Connection, feedback: Feedback) -> None:
    while before := _before(connection, feedback):
        if all(getattr(before, name) == getattr(feedback, name) for name in _BODY):
            return
        if before.at_ms < feedback.at_ms:
            break
        feedback = replace(feedback, at_ms=feedback.at_ms + 1)  # two words in one millisecond
    connection.execute(insert(schema.feedback).values(asdict(feedback)))


def _before(connection: Connection, feedback: Feedback) -> Row[Any] | None:
    """The latest word on the same answer that is not after this one."""
    return connection.execute(
        select(schema.feedback)
        .where(
            _feedback.writer == feedback.writer,
            _feedback.sequence == feedback.sequence,
            _feedback.at_ms <= feedback.at_ms,
        )
        .order_by(_feedback.at_ms.desc())
        .limit(1)
    ).one_or_none()
