"""Inserts of rows that their writer numbered (exposures, shadow pairs), each stored once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TypeVar

from sqlalchemy import Connection, Table, select

from serve_app.recording.records import Exposure, ShadowPair
from serve_app.store import bulk
from serve_app.store.epochs import Timeline

Entry = TypeVar("Entry", bound=Exposure | ShadowPair)


def insert_new(
    connection: Connection, table: Table, entries: Sequence[Entry], timeline: Timeline
) -> list[tuple[Entry, int | None]]:
    """Insert the entries of one writer that are not stored yet; return them with their epochs."""
    if not entries:
        return []
    stored = _stored_sequences(connection, table, entries)
    added = [(entry, timeline.epoch(entry)) for entry in entries if entry.sequence not in stored]
    bulk.insert(connection, table, _rows(table, added))
    return added


def _rows(table: Table, added: list[tuple[Entry, int | None]]) -> list[bulk.Row]:
    names = table.columns.keys()
    place = names.index("epoch")
    before: Callable[[Entry], bulk.Row] = attrgetter(*names[:place])
    after: Callable[[Entry], bulk.Row] = attrgetter(*names[place + 1 :])
    return [(*before(entry), epoch, *after(entry)) for entry, epoch in added]


def _stored_sequences(connection: Connection, table: Table, entries: Sequence[Entry]) -> set[int]:
    """The sequence numbers in the range of the entries that are stored."""
    sequences = [entry.sequence for entry in entries]
    return set(
        connection.scalars(
            select(table.c.sequence).where(
                table.c.writer == entries[0].writer,
                table.c.sequence.between(min(sequences), max(sequences)),
            )
        )
    )
