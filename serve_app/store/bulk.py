"""Bulk statements that bypass SQLAlchemy's work for each row or parameter, which costs more than
the database does.

A row is a tuple in the order of the table's columns. SQLite gets the rows in one `executemany`;
PostgreSQL gets one statement with an array for each column.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Float,
    Table,
    any_,
    bindparam,
    case,
    cast,
    func,
    select,
    tuple_,
)
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
        how: `add` the numbers, or take the higher one where the column's info says `max`;
            `replace` the stored row; `keep_earlier`: replace it only if the new values are lower,
            compared column by column.
    """
    _write(connection, table, rows, how)


def remove(connection: Connection, table: Table, keys: Sequence[Row]) -> None:
    """Remove the rows with these keys, one lookup each: for a list of keys SQLite would scan the
    table."""
    if keys:
        connection.exec_driver_sql(_delete_sql(table, connection.dialect.name), list(keys))


def find(
    connection: Connection, column: Column[int], shared: str, keys: Sequence[int]
) -> dict[int, int]:
    """Last key -> the value of a column, for the rows that are stored.

    Args:
        column: A column of a table with two keys.
        shared: The first key of all rows.
        keys: The last keys.
    """
    name = connection.dialect.name
    among = json.dumps(keys) if name == "sqlite" else keys
    found = connection.exec_driver_sql(_find_sql(column, name), (shared, among))
    return dict(map(tuple, found))


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
def _find_sql(column: Column[int], dialect: str) -> str:
    first, last = column.table.primary_key
    query = select(last, column).where(first == bindparam("shared"))
    keys: BindParameter[Any] = bindparam("keys")
    if dialect == "sqlite":
        each = func.json_each(keys).table_valued("value")
        query = query.where(last.in_(select(each.c.value)))
    else:
        query = query.where(last == any_(cast(keys, postgresql.ARRAY(last.type))))
    return str(query.compile(dialect=_DIALECTS[dialect]))


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
        is_earlier = tuple_(*(new[c.name] for c in values)) < tuple_(*values)
        statement = statement.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={c.name: _sum(c, new[c.name]) if how == "add" else new[c.name] for c in values},
            where=is_earlier if how == "keep_earlier" else None,
        )
    return str(statement.compile(dialect=_DIALECTS[dialect]))


def _sum(column: Column[Any], new: ColumnElement[Any]) -> ColumnElement[Any]:
    if column.info.get("merge") == "max":
        return case((new > column, new), else_=column)
    return column + new


@cache
def _delete_sql(table: Table, dialect: str) -> str:
    keys = [column == bindparam(f"key_{column.name}") for column in table.primary_key]
    return str(table.delete().where(*keys).compile(dialect=_DIALECTS[dialect]))
