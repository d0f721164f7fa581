"""Shadow pairs whose true label a user told: feedback joined with the pair of its prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Connection, and_, case, cast, func, select

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
        true_label: The label that the user reported, or stable's if the user confirmed it.
        images: Their number.
    """

    unit: NDArray[np.int64]
    stable_label: Categorical
    candidate_label: Categorical
    true_label: Categorical
    images: NDArray[np.float64]


def read(connection: Connection, scope: Scope) -> ToldPairs:
    """The images in a scope, summed by unit and labels, as long as the rows of pairs are kept."""
    is_confirmed = and_(_labelled.reported_label == "", _labelled.correct.is_(True))
    true_label = case((is_confirmed, _labelled.predicted_label), else_=_labelled.reported_label)
    told = (
        select(
            func.coalesce(_pairs.unit, "").label("unit"),
            _labelled.predicted_label.label("stable_label"),
            _pairs.label.label("candidate_label"),
            true_label.label("true_label"),
        )
        .join_from(
            schema.labelled_feedback,
            schema.shadow_pairs,
            and_(_pairs.writer == _labelled.writer, _pairs.sequence == _labelled.sequence),
        )
        .where(
            *scope.conditions(schema.labelled_feedback, "at_ms"),
            _pairs.outcome == CopyOutcome.COPIED.value,
            true_label != "",
        )
        .subquery()
    )
    query = select(*told.c, cast(func.count(), BigInteger).label("images")).group_by(*told.c)
    columns = Columns(
        connection, query, ("unit", "stable_label", "candidate_label", "true_label", "images")
    )
    return ToldPairs(
        unit=_numbers(columns.categorical("unit")),
        stable_label=columns.categorical("stable_label"),
        candidate_label=columns.categorical("candidate_label"),
        true_label=columns.categorical("true_label"),
        images=columns.numbers("images", np.float64),
    )


def _numbers(unit: Categorical) -> NDArray[np.int64]:
    numbers = [hash64(text or None) for text in unit.categories]
    return np.array(numbers, np.int64)[unit.codes]
