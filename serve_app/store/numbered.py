"""Rows that their writers numbered: exposures and shadow pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, Table, insert, select

from serve_app.domain import Exposure, ShadowPair
from serve_app.store.epochs import Timeline


def add(
    connection: Connection, table: Table, writer: str, entries: Sequence[Exposure | ShadowPair]
) -> list[dict[str, Any]]:
    """Store those of a writer that are not stored yet, each with its epoch; what was new."""
    if not entries:
        return []
    known = _known(connection, table, writer, entries)
    timeline = Timeline(connection, {entry.rule_id for entry in entries})
    rows = [_row(entry, timeline.epoch(entry)) for entry in entries if entry.sequence not in known]
    if rows:
        connection.execute(insert(table), rows)
    return rows


def _known(
    connection: Connection, table: Table, writer: str, entries: Sequence[Exposure | ShadowPair]
) -> set[int]:
    """The numbers, in the range of the entries, that are stored."""
    sequences = [entry.sequence for entry in entries]
    return set(
        connection.scalars(
            select(table.c.sequence).where(
                table.c.writer == writer,
                table.c.sequence.between(min(sequences), max(sequences)),
            )
        )
    )


def _row(entry: Exposure | ShadowPair, epoch: int | None) -> dict[str, Any]:
    row = {field.name: getattr(entry, field.name) for field in fields(entry)}
    row["epoch"] = epoch
    return row
