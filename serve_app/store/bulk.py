"""Many rows at once, past SQLAlchemy's handling of every row: it costs more than the database.

Rows are tuples in the order of the table's columns. SQLite is given them one by one, in one call;
PostgreSQL column by column, in one statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from sqlalchemy import Connection, Dialect, Float, Table, bindparam, cast, func, select
from sqlalchemy.dialects import postgresql, sqlite

Merge = Literal["add", "replace", "keep the earlier"]
Row = tuple[Any, ...]

_DIALECTS: dict[str, Dialect] = {
    "sqlite": sqlite.dialect(paramstyle="qmark"),
    "postgresql": postgresql.dialect(paramstyle="format"),  # type: ignore[no-untyped-call]
}


def insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Add rows whose keys are new."""
    _add(connection, table, rows, None)


def merge(connection: Connection, table: Table, rows: Sequence[Row], how: Merge) -> None:
    """Add rows, or merge them with those of the same keys; no two of them have the same.

    Args:
        how: Their numbers add up, or the new row replaces the old one, or only if its `at_ms` is
            lower.
    """
    _add(connection, table, rows, how)


def remove(connection: Connection, table: Table, keys: Sequence[Row]) -> None:
    """Remove the rows of these keys, each looked up: SQLite would read all of the table for a
    list of them."""
    if keys:
        connection.exec_driver_sql(_remove(table, connection.dialect.name), list(keys))


def _add(connection: Connection, table: Table, rows: Sequence[Row], how: Merge | None) -> None:
    if not rows:
        return
    name = connection.dialect.name
    parameters = list(rows) if name == "sqlite" else _turned(table, rows)
    connection.exec_driver_sql(_insert(table, how, name), parameters)


def _turned(table: Table, rows: Sequence[Row]) -> Row:
    """The columns, as arrays; one that has whole numbers beside others would be rejected."""
    columns = zip(table.columns, zip(*rows, strict=True), strict=True)
    return tuple(
        [None if value is None else float(value) for value in values]
        if isinstance(column.type, Float)
        else list(values)
        for column, values in columns
    )


@cache
def _insert(table: Table, how: Merge | None, dialect: str) -> str:
    if dialect == "sqlite":
        statement: Any = sqlite.insert(table)
    else:
        arrays = [cast(bindparam(c.name), postgresql.ARRAY(c.type)) for c in table.columns]
        source = func.unnest(*arrays).table_valued(*table.columns.keys()).render_derived()
        statement = postgresql.insert(table).from_select(table.columns.keys(), select(source))
    if how is not None:
        new = statement.excluded
        others = [column for column in table.columns if not column.primary_key]
        statement = statement.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={c.name: c + new[c.name] if how == "add" else new[c.name] for c in others},
            where=new.at_ms < table.c.at_ms if how == "keep the earlier" else None,
        )
    return str(statement.compile(dialect=_DIALECTS[dialect]))


@cache
def _remove(table: Table, dialect: str) -> str:
    keys = [column == bindparam(f"the_{column.name}") for column in table.primary_key]
    return str(table.delete().where(*keys).compile(dialect=_DIALECTS[dialect]))
