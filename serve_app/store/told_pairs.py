"""Shadow pairs whose true label a user told: feedback joined with the pair of its prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, and_, func, or_, select

from serve_app.evidence.units import Rows
from serve_app.recording.records import CopyOutcome
from serve_app.store import schema
from serve_app.store.columns import Categorical, Columns
from serve_app.store.scope import Scope
from serve_app.store.units import hash64

_labelled = schema.labelled_feedback.c
_pairs = schema.shadow_pairs.c


@dataclass(frozen=True, slots=True)
class ToldPairs(Rows):
    """Copied images with a true label from feedback; columns of length n.

    Attributes:
        unit: See `serve_app.store.units.hash64`; 0 for images without a unit.
        stable_label, candidate_label: The predictions of both versions.
        true_label: The label that the user reported; empty for one that no version has. A mere
            `correct` does not count: without a label, only confirmations of stable would tell the
            truth, and never its mistakes.
        images: Their number.
    """

    unit: NDArray[np.int64]
    stable_label: Categorical
    candidate_label: Categorical
    true_label: Categorical
    images: NDArray[np.float64]


def read(connection: Connection, scope: Scope) -> ToldPairs:
    """The images in a scope, summed by unit and labels, as long as the rows of pairs are kept."""
    query = (
        select(
            func.coalesce(_pairs.unit, "").label("unit"),
            _labelled.predicted_label.label("stable_label"),
            _pairs.label.label("candidate_label"),
            _labelled.reported_label.label("true_label"),
        )
        .join_from(
            schema.labelled_feedback,
            schema.shadow_pairs,
            and_(_pairs.writer == _labelled.writer, _pairs.sequence == _labelled.sequence),
        )
        .where(
            *scope.conditions(schema.labelled_feedback, "at_ms"),
            _pairs.outcome == CopyOutcome.COPIED.value,
            or_(_labelled.reported_label != "", _labelled.unknown_label.is_not(None)),
        )
    )
    labels = ("stable_label", "candidate_label", "true_label")
    columns = Columns(connection, query, labels)
    parts = [columns.categorical(name) for name in ("unit", *labels)]
    shape = [max(1, len(part.categories)) for part in parts]
    cell = np.ravel_multi_index([part.codes for part in parts], shape)
    _, rows, images = np.unique(cell, return_index=True, return_counts=True)
    unit, stable_label, candidate_label, true_label = (part[rows] for part in parts)
    number = np.array([hash64(text) for text in unit.categories], np.int64)
    return ToldPairs(
        unit=number[unit.codes],
        stable_label=stable_label,
        candidate_label=candidate_label,
        true_label=true_label,
        images=images.astype(np.float64),
    )
