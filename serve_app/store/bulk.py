"""Many rows at once, past SQLAlchemy's handling of every row: it costs more than the database.

Rows are tuples in the order of the table's columns. What happens to a row whose key is there is
told by how its other columns are merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from sqlalchemy import Connection, Dialect, Table, bindparam
from sqlalchemy.dialects import postgresql, sqlite

Merge = Literal["add", "replace", "keep the earlier"]
Row = tuple[Any, ...]

_DIALECTS: dict[str, Dialect] = {
    "sqlite": sqlite.dialect(paramstyle="qmark"),
    "postgresql": postgresql.dialect(paramstyle="format"),  # type: ignore[no-untyped-call]
}


def insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Add rows whose keys are new."""
    if rows:
        connection.exec_driver_sql(_insert(table, connection.dialect.name), list(rows))


def merge(connection: Connection, table: Table, rows: Sequence[Row], how: Merge) -> None:
    """Add rows, or merge them with those of the same keys.

    Args:
        how: Their numbers add up, or the new row replaces the old one, or only if its `at_ms` is
            lower.
    """
    if rows:
        connection.exec_driver_sql(_merge(table, how, connection.dialect.name), list(rows))


def remove(connection: Connection, table: Table, keys: Sequence[Row]) -> None:
    """Remove the rows of these keys, each looked up: SQLite would read all of the table for a
    list of them."""
    if keys:
        connection.exec_driver_sql(_remove(table, connection.dialect.name), list(keys))


@cache
def _insert(table: Table, dialect: str) -> str:
    return str(table.insert().compile(dialect=_DIALECTS[dialect]))


@cache
def _merge(table: Table, how: Merge, dialect: str) -> str:
    statement = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    new = statement.excluded
    others = [column for column in table.columns if not column.primary_key]
    upsert = statement.on_conflict_do_update(
        index_elements=list(table.primary_key),
        set_={c.name: c + new[c.name] if how == "add" else new[c.name] for c in others},
        where=new.at_ms < table.c.at_ms if how == "keep the earlier" else None,
    )
    return str(upsert.compile(dialect=_DIALECTS[dialect]))


@cache
def _remove(table: Table, dialect: str) -> str:
    keys = [column == bindparam(f"the_{column.name}") for column in table.primary_key]
    return str(table.delete().where(*keys).compile(dialect=_DIALECTS[dialect]))
