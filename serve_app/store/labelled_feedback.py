"""Answers that somebody said something of: feedback joined with its exposure.

Whichever of the two comes first waits for the other. What counts is the last word that came within
the window of the answer's rule; or the last one, if none came in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Integer, cast, func, select

from serve_app.domain import Exposure, Feedback
from serve_app.store import bulk, feedback, schema, units
from serve_app.store.columns import Categorical, Columns, Rows
from serve_app.store.epochs import Timeline
from serve_app.store.scope import Scope

UNSAID = -1  # neither yes nor no

_exposures = schema.exposures.c
_judged = schema.labelled_feedback.c
_FIELDS = tuple(field.name for field in fields(Exposure))


@dataclass(frozen=True, slots=True)
class LabelledFeedback(Rows):
    """Answers and the word on each that counts; columns of equal length.

    Attributes:
        epoch: 0 for none.
        unit: See `serve_app.store.units.of`.
        answered, told: The label of the answer, and the one that the user gave; empty for none.
        at_ms, told_at_ms: When it was answered, and when that word came; milliseconds since
            1970 UTC.
        correct, complaint: 1, 0, or -1 if it was not said. Who gives a label says whether the
            answer was correct.
        rating: 1 to 5, or 0 if none was given.
    """

    epoch: NDArray[np.int64]
    unit: NDArray[np.int64]
    assigned: Categorical
    reason: Categorical
    region: Categorical
    answered: Categorical
    told: Categorical
    at_ms: NDArray[np.int64]
    told_at_ms: NDArray[np.int64]
    correct: NDArray[np.int8]
    complaint: NDArray[np.int8]
    rating: NDArray[np.int8]


def update(
    connection: Connection,
    added: Sequence[tuple[Exposure, int | None]],
    told: Sequence[Feedback],
) -> None:
    """Join exposures that were just stored, and those that feedback was just told of."""
    answers = _stored(connection, told)
    answers |= {(e.writer, e.sequence): (e, epoch) for e, epoch in added}
    said = feedback.feedback_on(connection, [answer for answer, _ in answers.values()])
    if said:
        timeline = Timeline(connection, {answers[key][0].rule_id for key in said})
        rows = [_row(*answers[key], said[key], timeline) for key in sorted(said)]
        bulk.merge(connection, schema.labelled_feedback, rows, "replace")


def read(connection: Connection, scope: Scope) -> LabelledFeedback:
    """The answers in scope, by their own times."""
    texts = ("assigned", "reason", "region", "answered", "told")
    query = select(
        *(_judged[name] for name in ("unit", "at_ms", "told_at_ms", "epoch", *texts)),
        func.coalesce(cast(_judged.correct, Integer), UNSAID).label("correct"),
        func.coalesce(cast(_judged.complaint, Integer), UNSAID).label("complaint"),
        func.coalesce(_judged.rating, 0).label("rating"),
    ).where(*scope.conditions(schema.labelled_feedback, "at_ms"))
    few = ("epoch", *texts, "correct", "complaint", "rating")
    columns = Columns(connection, query, few)
    return LabelledFeedback(
        epoch=columns.numbers("epoch", np.int64),
        unit=columns.numbers("unit", np.int64),
        assigned=columns.coded("assigned"),
        reason=columns.coded("reason"),
        region=columns.coded("region"),
        answered=columns.coded("answered"),
        told=columns.coded("told"),
        at_ms=columns.numbers("at_ms", np.int64),
        told_at_ms=columns.numbers("told_at_ms", np.int64),
        correct=columns.numbers("correct", np.int8),
        complaint=columns.numbers("complaint", np.int8),
        rating=columns.numbers("rating", np.int8),
    )


def _stored(
    connection: Connection, told: Iterable[Feedback]
) -> dict[tuple[str, int], tuple[Exposure, int | None]]:
    """The exposures that feedback is about, as far as they are stored, each with its epoch."""
    stored = {}
    for writer, sequences in feedback.by_writer(told).items():
        rows = connection.execute(
            select(schema.exposures).where(
                _exposures.writer == writer, _exposures.sequence.in_(sequences)
            )
        )
        for row in rows.mappings():
            exposure = Exposure(**{name: row[name] for name in _FIELDS})
            stored[writer, exposure.sequence] = (exposure, row["epoch"])
    return stored


def _row(
    answer: Exposure, epoch: int | None, words: list[Feedback], timeline: Timeline
) -> bulk.Row:
    window_ms = timeline.split(answer.rule_id).window_ms
    timely = [word for word in words if feedback.is_timely(word, window_ms)]
    word = (timely or words)[-1]
    correct = word.correct
    if correct is None and word.label is not None:
        correct = word.label == answer.label
    return (
        epoch or 0,
        answer.at_ms,
        answer.writer,
        answer.sequence,
        answer.rule_id,
        units.of(answer, timeline),
        answer.assigned or "",
        answer.reason,
        answer.region or "",
        answer.label or "",
        word.at_ms,
        _printable(word.label or ""),
        correct,
        word.rating,
        word.complaint,
    )


def _printable(text: str) -> str:
    """Without the characters that `Columns` puts between texts, and others of their kind."""
    return "".join(filter(str.isprintable, text))
