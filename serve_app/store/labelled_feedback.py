"""Feedback joined with the exposure of its prediction, one row for each prediction.

Feedback and exposure may arrive in either order. The feedback that counts is the last one within
the window of the prediction's rule; if none is, the last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Integer, cast, func, select

from serve_app.evidence.units import Rows
from serve_app.recording.records import Exposure, Feedback
from serve_app.store import bulk, feedback, schema, units
from serve_app.store.columns import Categorical, Columns
from serve_app.store.epochs import Timeline
from serve_app.store.scope import Scope

NOT_REPORTED = -1  # `correct` or `complaint` is null

_exposures = schema.exposures.c
_labelled = schema.labelled_feedback.c
_FIELDS = tuple(field.name for field in fields(Exposure))


@dataclass(frozen=True, slots=True)
class LabelledFeedback(Rows):
    """Predictions with the feedback that counts; columns of length n.

    Attributes:
        epoch: 0 for none.
        unit: See `serve_app.store.units.unit_id_of`.
        served: The version that predicted; empty for none.
        predicted_label, reported_label: The label of the prediction, and the label that the user
            reported; empty for none.
        at_ms, reported_at_ms: Time of the prediction and of the feedback, milliseconds since 1970
            UTC.
        correct, complaint: 1, 0, or -1 if not reported. A reported label implies `correct`.
        rating: 1 to 5, or 0 if not reported.
        has_unknown_label: The user reported a label that no version has; `reported_label` is empty.
    """

    epoch: NDArray[np.int64]
    unit: NDArray[np.int64]
    assigned: Categorical
    reason: Categorical
    region: Categorical
    served: Categorical
    predicted_label: Categorical
    reported_label: Categorical
    at_ms: NDArray[np.int64]
    reported_at_ms: NDArray[np.int64]
    correct: NDArray[np.int8]
    complaint: NDArray[np.int8]
    rating: NDArray[np.int8]
    has_unknown_label: NDArray[np.bool_]


def update(
    connection: Connection,
    added: Sequence[tuple[Exposure, int | None]],
    received: Sequence[Feedback],
) -> None:
    """Join new exposures, each with its epoch, and the exposures of the received feedback."""
    predictions = _stored_exposures(connection, received)
    predictions |= {(e.writer, e.sequence): (e, epoch) for e, epoch in added}
    found = feedback.feedback_on(connection, [exposure for exposure, _ in predictions.values()])
    if found:
        timeline = Timeline(connection, {predictions[key][0].rule_id for key in found})
        rows = [_row(*predictions[key], found[key], timeline) for key in sorted(found)]
        bulk.merge(connection, schema.labelled_feedback, rows, "replace")


def read(connection: Connection, scope: Scope) -> LabelledFeedback:
    """The predictions in a scope, by the time of the prediction."""
    texts = ("assigned", "reason", "region", "served", "predicted_label", "reported_label")
    query = select(
        *(_labelled[name] for name in ("unit", "at_ms", "reported_at_ms", "epoch", *texts)),
        func.coalesce(cast(_labelled.correct, Integer), NOT_REPORTED).label("correct"),
        func.coalesce(cast(_labelled.complaint, Integer), NOT_REPORTED).label("complaint"),
        func.coalesce(_labelled.rating, 0).label("rating"),
        cast(_labelled.unknown_label.is_not(None), Integer).label("has_unknown_label"),
    ).where(*scope.conditions(schema.labelled_feedback, "at_ms"))
    categorical = ("epoch", *texts, "correct", "complaint", "rating", "has_unknown_label")
    columns = Columns(connection, query, categorical)
    return LabelledFeedback(
        epoch=columns.numbers("epoch", np.int64),
        unit=columns.numbers("unit", np.int64),
        assigned=columns.categorical("assigned"),
        reason=columns.categorical("reason"),
        region=columns.categorical("region"),
        served=columns.categorical("served"),
        predicted_label=columns.categorical("predicted_label"),
        reported_label=columns.categorical("reported_label"),
        at_ms=columns.numbers("at_ms", np.int64),
        reported_at_ms=columns.numbers("reported_at_ms", np.int64),
        correct=columns.numbers("correct", np.int8),
        complaint=columns.numbers("complaint", np.int8),
        rating=columns.numbers("rating", np.int8),
        has_unknown_label=columns.numbers("has_unknown_label", np.bool_),
    )


def _stored_exposures(
    connection: Connection, received: Iterable[Feedback]
) -> dict[tuple[str, int], tuple[Exposure, int | None]]:
    """The stored exposures that feedback is about, each with its epoch; by writer and sequence."""
    stored = {}
    for writer, sequences in feedback.sequences_by_writer(received).items():
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
    exposure: Exposure, epoch: int | None, rows: list[Feedback], timeline: Timeline
) -> bulk.Row:
    window_ms = timeline.split(exposure.rule_id).window_ms
    timely = [row for row in rows if feedback.is_timely(row, window_ms)]
    last = (timely or rows)[-1]
    correct = last.correct
    if correct is None and last.label is not None:
        correct = last.label == exposure.label
    return (
        epoch or 0,
        exposure.at_ms,
        exposure.writer,
        exposure.sequence,
        exposure.rule_id,
        units.unit_id_of(exposure, timeline),
        exposure.assigned or "",
        exposure.reason,
        exposure.region or "",
        exposure.served or "",
        exposure.label or "",
        last.at_ms,
        _printable(last.label or ""),
        correct,
        last.rating,
        last.complaint,
        last.unknown_label,
    )


def _printable(text: str) -> str:
    """The text without control characters, which `Columns` uses as separators."""
    return "".join(filter(str.isprintable, text))
