"""Which entries a report is about."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, literal, select

from serve_app.store import schema


@dataclass(frozen=True, slots=True)
class Scope:
    """All entries, but for what is told.

    Attributes:
        since_ms, until_ms: From when, and before when; milliseconds since 1970 UTC. Sums know
            minutes, those of units know days: there, both times are rounded down.
        epochs: Their numbers; 0 has what belongs to none.
        regions: Countries; the empty one has what came from nobody knows where.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    epochs: Collection[int] | None = None
    rule_ids: Collection[str] | None = None
    regions: Collection[str] | None = None

    def conditions(self, table: Table, time: str, unit_ms: int = 1) -> list[ColumnElement[bool]]:
        """What the rows of a table must fulfil; the regions, if it has a column for them.

        Args:
            time: The column that says when, in units of `unit_ms` milliseconds.
        """
        column = table.c[time]
        conditions: list[ColumnElement[bool]] = []
        if self.epochs is not None:
            conditions.append(table.c.epoch.in_(self.epochs))
        elif self.since_ms is not None or self.until_ms is not None:
            # Every epoch: the keys begin with it, so that the times can be looked up in each.
            every = select(schema.epochs.c.number).union_all(select(literal(0)))
            conditions.append(table.c.epoch.in_(every))
        if self.since_ms is not None:
            conditions.append(column >= self.since_ms // unit_ms)
        if self.until_ms is not None:
            conditions.append(column < self.until_ms // unit_ms)
        if self.rule_ids is not None:
            conditions.append(_of_rules(table, self.rule_ids))
        if self.regions is not None and "region" in table.c:
            conditions.append(table.c.region.in_(self.regions))
        return conditions


EVERYTHING = Scope()


def _of_rules(table: Table, rule_ids: Collection[str]) -> ColumnElement[bool]:
    if "rule_id" in table.c:
        return table.c.rule_id.in_(rule_ids)
    epochs = schema.epochs.c
    return table.c.epoch.in_(select(epochs.number).where(epochs.rule_id.in_(rule_ids)))
