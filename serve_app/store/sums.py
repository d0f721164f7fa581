"""Tables of sums: accumulated for a batch, merged into a table, aggregated for a report.

The primary key of such a table is the list of columns that it is summed by, the epoch and the
minute or day first. All other columns are additive numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import add
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Float,
    Table,
    cast,
    func,
    literal_column,
    select,
)

from serve_app.clock import MINUTE_MS
from serve_app.store import bulk
from serve_app.store.scope import Scope

Key = tuple[Any, ...]
Numbers = tuple[float, ...]


class SumAccumulator:
    """The sums of a batch, before they are merged into their table."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._totals: dict[Key, Numbers] = {}

    def add(self, key: Key, numbers: Numbers) -> None:
        """Add the numbers of one entry; `key` and `numbers` in the order of the table's columns."""
        total = self._totals.get(key)
        self._totals[key] = tuple(map(add, total, numbers)) if total else numbers

    def write(self, connection: Connection) -> None:
        """Add the sums to the table."""
        rows = [key + self._totals[key] for key in sorted(self._totals)]
        bulk.merge(connection, self._table, rows, "add")


def read_sums(
    connection: Connection,
    table: Table,
    scope: Scope,
    by: Collection[str],
    slot_ms: int | None = None,
    where: Sequence[ColumnElement[bool]] = (),
) -> list[dict[str, Any]]:
    """The sums in a scope, grouped and ordered by keys; all other keys are None in the result.

    Args:
        by: The key columns to group by.
        slot_ms: Group by time slots of this length as well, whole minutes; `at_ms` is the start
            of each slot, a multiple of the length.

    Raises:
        ValueError: Unknown key, or `slot_ms` is not a positive number of whole minutes.
    """
    known = [column.name for column in table.primary_key if column.name != "minute"]
    if unknown := set(by) - set(known):
        raise ValueError(f"{table.name} is not summed by {', '.join(sorted(unknown))}")
    keys: list[ColumnElement[Any]] = [table.c[name] for name in known if name in by]
    if slot_ms is not None:
        keys.insert(0, _slot(table, slot_ms))
    totals = [_total(column) for column in table.columns if not column.primary_key]
    conditions = scope.conditions(table, "minute", MINUTE_MS)
    rows = connection.execute(
        select(*keys, *totals)
        .where(*conditions, *where)
        .group_by(*(key.name for key in keys))
        .having(func.count() > 0)
        .order_by(*(key.name for key in keys))
    )
    no_keys: dict[str, Any] = dict.fromkeys(["at_ms", *known])
    return [{**no_keys, **row} for row in rows.mappings()]


def _slot(table: Table, slot_ms: int) -> ColumnElement[Any]:
    minutes, rest = divmod(slot_ms, MINUTE_MS)
    if minutes < 1 or rest:
        raise ValueError(f"a slot of {slot_ms} ms: expected a positive number of whole minutes")
    # `/` of two integers is an integer on both databases; SQLAlchemy's `//` becomes a float.
    slot = cast(table.c.minute, BigInteger).op("/")(literal_column(str(minutes)))
    return (slot * literal_column(str(slot_ms), BigInteger)).label("at_ms")


def _total(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The sum, in the type of the column: PostgreSQL sums integers to decimals."""
    total = func.sum(column)
    return (total if isinstance(column.type, Float) else cast(total, column.type)).label(
        column.name
    )
