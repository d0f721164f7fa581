"""The rows of a database, read without the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine, select

from serve_app.recording.records import Exposure, Feedback, ShadowPair
from serve_app.store import schema

RowT = TypeVar("RowT", Exposure, ShadowPair, Feedback)
TABLES = {
    Exposure: schema.exposures,
    ShadowPair: schema.shadow_pairs,
    Feedback: schema.feedback,
}


def stored(url: str, kind: type[RowT]) -> list[RowT]:
    """All rows of a kind, newest first."""
    table = TABLES[kind]
    columns = (table.c[field.name] for field in fields(kind))
    query = select(*columns).order_by(table.c.at_ms.desc(), table.c.sequence.desc())
    with _connect(url) as connection:
        return [kind(*row) for row in connection.execute(query)]


def epoch_by_sequence(url: str, kind: type[Exposure | ShadowPair]) -> dict[int, int | None]:
    """Sequence number of a row -> number of its epoch."""
    table = TABLES[kind]
    with _connect(url) as connection:
        return dict(map(tuple, connection.execute(select(table.c.sequence, table.c.epoch))))


def contents(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, by table."""
    with _connect(url) as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in schema.metadata.sorted_tables
        }


def delete_all(url: str) -> None:
    """Delete all rows of all tables."""
    with _connect(url) as connection:
        for table in reversed(schema.metadata.sorted_tables):
            connection.execute(table.delete())


@contextmanager
def _connect(url: str) -> Iterator[Connection]:
    engine = create_engine(url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()
