"""Exposures: one row for each image that was classified, or failed to be."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import Connection, select

from serve_app.domain import Exposure
from serve_app.store import schema

_exposures = schema.exposures.c
_FIELDS = tuple(field.name for field in fields(Exposure))


@dataclass(frozen=True, slots=True)
class StoredExposure:
    """An exposure and its epoch; None if no adoption of its rule is recorded."""

    exposure: Exposure
    epoch: int | None


def list_since(connection: Connection, since_ms: int, limit: int) -> list[StoredExposure]:
    """The exposures with `at_ms` >= `since_ms`, newest first."""
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
