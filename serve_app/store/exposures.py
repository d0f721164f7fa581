"""Exposures: what each picture met."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import Connection, select

from serve_app.domain import Exposure
from serve_app.recording.batch import Batch
from serve_app.store import numbered, schema

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
    rows = numbered.add(connection, schema.exposures, batch.writer, batch.exposures)
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
