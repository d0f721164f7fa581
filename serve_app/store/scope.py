"""The selection of rows or sums that a report reads."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, literal, select

from serve_app.store import schema


@dataclass(frozen=True, slots=True)
class Scope:
    """A filter; a field that is None does not filter.

    Attributes:
        since_ms, until_ms: The start, inclusive, and the end, exclusive; milliseconds since 1970
            UTC. Rounded down to the minute for sums, to the day for sums by unit.
        epochs: Epoch numbers; 0 selects the rows without an epoch.
        regions: Countries; the empty text selects the rows without a region.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    epochs: Collection[int] | None = None
    rule_ids: Collection[str] | None = None
    regions: Collection[str] | None = None

    def conditions(self, table: Table, time: str, unit_ms: int = 1) -> list[ColumnElement[bool]]:
        """The conditions of a WHERE clause. `regions` applies if the table has that column.

        Args:
            time: The time column, in units of `unit_ms` milliseconds.
        """
        column = table.c[time]
        conditions: list[ColumnElement[bool]] = []
        if self.epochs is not None:
            conditions.append(table.c.epoch.in_(self.epochs))
        elif self.since_ms is not None or self.until_ms is not None:
            # Primary keys begin with the epoch: listing all epochs lets the index find the times.
            every = select(schema.epochs.c.number).union_all(select(literal(0)))
            conditions.append(table.c.epoch.in_(every))
        if self.since_ms is not None:
            conditions.append(column >= self.since_ms // unit_ms)
        if self.until_ms is not None:
            conditions.append(column < self.until_ms // unit_ms)
        if self.rule_ids is not None:
            conditions.append(_has_rule(table, self.rule_ids))
        if self.regions is not None and "region" in table.c:
            conditions.append(table.c.region.in_(self.regions))
        return conditions


EVERYTHING = Scope()


def _has_rule(table: Table, rule_ids: Collection[str]) -> ColumnElement[bool]:
    if "rule_id" in table.c:
        return table.c.rule_id.in_(rule_ids)
    epochs = schema.epochs.c
    return table.c.epoch.in_(select(epochs.number).where(epochs.rule_id.in_(rule_ids)))
