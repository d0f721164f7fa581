"""Exposures: what each picture met."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, insert, select

from serve_app.domain import Exposure
from serve_app.recording.batch import Batch
from serve_app.store import schema
from serve_app.store.epochs import Timeline

_exposures = schema.exposures.c
_FIELDS = tuple(field.name for field in fields(Exposure))


@dataclass(frozen=True, slots=True)
class StoredExposure:
    """An exposure and the epoch of its rule; None if no adoption of the rule is known."""

    exposure: Exposure
    epoch: int | None


@dataclass(frozen=True, slots=True)
class Added:
    """How many exposures were new, and how many of these have no epoch."""

    stored: int
    without_epoch: int


def add(connection: Connection, batch: Batch) -> Added:
    """Store the exposures of a batch that are not stored yet."""
    if not batch.exposures:
        return Added(0, 0)
    known = _known(connection, batch)
    timeline = Timeline(connection, {exposure.rule_id for exposure in batch.exposures})
    rows = [
        _row(exposure, timeline.epoch(exposure))
        for exposure in batch.exposures
        if exposure.sequence not in known
    ]
    if rows:
        connection.execute(insert(schema.exposures), rows)
    return Added(len(rows), sum(row["epoch"] is None for row in rows))


def since(connection: Connection, since_ms: int, limit: int) -> list[StoredExposure]:
    """Those answered at `since_ms` or later, the newest first."""
    rows = connection.execute(
        select(schema.exposures)
        .where(_exposures.at_ms >= since_ms)
        .order_by(_exposures.at_ms.desc(), _exposures.writer, _exposures.sequence.desc())
        .limit(limit)
    )
    return [
        StoredExposure(Exposure(**{name: row[name] for name in _FIELDS}), row["epoch"])
        for row in rows.mappings()
    ]


def _known(connection: Connection, batch: Batch) -> set[int]:
    """The numbers, in the range of the batch, that are stored."""
    sequences = [exposure.sequence for exposure in batch.exposures]
    return set(
        connection.scalars(
            select(_exposures.sequence).where(
                _exposures.writer == batch.writer,
                _exposures.sequence.between(min(sequences), max(sequences)),
            )
        )
    )


def _row(exposure: Exposure, epoch: int | None) -> dict[str, Any]:
    row = {name: getattr(exposure, name) for name in _FIELDS}
    row["epoch"] = epoch
    return row
