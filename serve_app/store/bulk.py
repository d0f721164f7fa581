"""Bulk writes that bypass SQLAlchemy's work for each row, which costs more than the database does.

A row is a tuple in the order of the table's columns. SQLite gets the rows in one `executemany`;
PostgreSQL gets one statement with an array for each column.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from sqlalchemy import Connection, Dialect, Float, Table, bindparam, cast, func, select
from sqlalchemy.dialects import postgresql, sqlite

Merge = Literal["add", "replace", "keep_earlier"]
Row = tuple[Any, ...]

_DIALECTS: dict[str, Dialect] = {
    "sqlite": sqlite.dialect(paramstyle="qmark"),
    "postgresql": postgresql.dialect(paramstyle="format"),  # type: ignore[no-untyped-call]
}


def insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows whose keys are not in the table."""
    _write(connection, table, rows, None)


def merge(connection: Connection, table: Table, rows: Sequence[Row], how: Merge) -> None:
    """Insert rows, or merge them with the stored rows of the same keys. Keys in `rows` are unique.

    Args:
        how: `add` the numbers; `replace` the stored row; `keep_earlier`: replace it only if the
            new `at_ms` is lower.
    """
    _write(connection, table, rows, how)


def remove(connection: Connection, table: Table, keys: Sequence[Row]) -> None:
    """Remove the rows with these keys, one lookup each: for a list of keys SQLite would scan the
    table."""
    if keys:
        connection.exec_driver_sql(_delete_sql(table, connection.dialect.name), list(keys))


def _write(connection: Connection, table: Table, rows: Sequence[Row], how: Merge | None) -> None:
    if not rows:
        return
    name = connection.dialect.name
    parameters = list(rows) if name == "sqlite" else _column_arrays(table, rows)
    connection.exec_driver_sql(_insert_sql(table, how, name), parameters)


def _column_arrays(table: Table, rows: Sequence[Row]) -> Row:
    """The rows as one list for each column. PostgreSQL rejects arrays that mix int and float."""
    columns = zip(table.columns, zip(*rows, strict=True), strict=True)
    return tuple(
        [None if value is None else float(value) for value in values]
        if isinstance(column.type, Float)
        else list(values)
        for column, values in columns
    )


@cache
def _insert_sql(table: Table, how: Merge | None, dialect: str) -> str:
    if dialect == "sqlite":
        statement: Any = sqlite.insert(table)
    else:
        arrays = [cast(bindparam(c.name), postgresql.ARRAY(c.type)) for c in table.columns]
        source = func.unnest(*arrays).table_valued(*table.columns.keys()).render_derived()
        statement = postgresql.insert(table).from_select(table.columns.keys(), select(source))
    if how is not None:
        new = statement.excluded
        values = [column for column in table.columns if not column.primary_key]
        statement = statement.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={c.name: c + new[c.name] if how == "add" else new[c.name] for c in values},
            where=new.at_ms < table.c.at_ms if how == "keep_earlier" else None,
        )
    return str(statement.compile(dialect=_DIALECTS[dialect]))


@cache
def _delete_sql(table: Table, dialect: str) -> str:
    keys = [column == bindparam(f"key_{column.name}") for column in table.primary_key]
    return str(table.delete().where(*keys).compile(dialect=_DIALECTS[dialect]))
