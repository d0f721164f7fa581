"""Removal of old rows and sums.

A batch may be delivered twice; a stored row is recognized by writer and sequence, a removed row is
not. The store therefore keeps a cutoff, the time before which it has removed rows, and rejects and
counts older rows on arrival. Feedback is as old as its prediction, so that all feedback on a
prediction is kept or removed together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    Table,
    func,
    insert,
    literal,
    select,
    update,
)

from serve_app.clock import DAY_MS, MINUTE_MS
from serve_app.recording.batch import Batch
from serve_app.recording.records import RETENTION_DAYS
from serve_app.store import bulk, schema
from serve_app.store.database import used_bytes

PRUNE_ROWS = 2_000  # rows that one transaction removes, in some ten milliseconds

_cutoff = schema.retention_cutoff.c


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days rows and sums are kept.

    Attributes:
        rows_days: Exposures, shadow pairs, feedback; at least 1.
        sums_days: Sums, labelled feedback, reviews; at least `rows_days`.
        max_bytes: Of the database: above it exposures are removed before their time, oldest first,
            with the shadow pairs and feedback of that time, except those of the last day. Sums and
            images stay. None for no limit; without effect on PostgreSQL.
    """

    rows_days: int = RETENTION_DAYS
    sums_days: int = 400
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.rows_days <= self.sums_days:
            raise ValueError(
                f"rows are kept for {self.rows_days} days and sums for {self.sums_days}:"
                " expected at least 1 day for rows, and no fewer days for sums than for rows"
            )


def prune(connection: Connection, now_ms: int, retention: Retention) -> int:
    """Remove up to `PRUNE_ROWS` old rows; return their number, 0 if none is left."""
    rows_cutoff_ms = now_ms - retention.rows_days * DAY_MS
    if (size_cutoff_ms := _cutoff_of_size(connection, retention.max_bytes)) is not None:
        rows_cutoff_ms = max(rows_cutoff_ms, min(size_cutoff_ms, now_ms - DAY_MS))
    sums_cutoff_ms = now_ms - retention.sums_days * DAY_MS
    _advance_cutoff(connection, rows_cutoff_ms)
    left = PRUNE_ROWS
    for table, keys in _old_rows(rows_cutoff_ms, sums_cutoff_ms):
        left -= _remove(connection, table, keys, left)
        if not left:
            break
    return PRUNE_ROWS - left


def reject_old(connection: Connection, batch: Batch) -> Batch:
    """The batch without the rows older than the cutoff, which are counted."""
    cutoff_ms = connection.scalar(select(_cutoff.cutoff_ms))
    if cutoff_ms is None:
        return batch
    accepted = replace(
        batch,
        exposures=tuple(e for e in batch.exposures if e.at_ms >= cutoff_ms),
        pairs=tuple(p for p in batch.pairs if p.at_ms >= cutoff_ms),
        feedback=tuple(f for f in batch.feedback if f.answered_at_ms >= cutoff_ms),
    )
    rejected = _row_count(batch) - _row_count(accepted)
    if rejected:
        connection.execute(
            update(schema.retention_cutoff).values(rejected=_cutoff.rejected + rejected)
        )
    return accepted


def rejected_count(connection: Connection) -> int:
    """The number of rows that were rejected because they were older than the cutoff."""
    return connection.scalar(select(_cutoff.rejected)) or 0


def _cutoff_of_size(connection: Connection, max_bytes: int | None) -> int | None:
    """The end of the oldest `PRUNE_ROWS` exposures, if the database is too large."""
    used = used_bytes(connection)
    if max_bytes is None or used is None or used <= max_bytes:
        return None
    oldest = select(schema.exposures.c.at_ms).order_by(schema.exposures.c.at_ms).limit(PRUNE_ROWS)
    last_ms = connection.scalar(select(func.max(oldest.subquery().c.at_ms)))
    return None if last_ms is None else last_ms + 1


def _advance_cutoff(connection: Connection, cutoff_ms: int) -> None:
    """Set the cutoff unless that would lower it: removed rows do not return."""
    before = connection.scalar(select(_cutoff.cutoff_ms))
    if before is None:
        connection.execute(
            insert(schema.retention_cutoff).values(id=1, cutoff_ms=cutoff_ms, rejected=0)
        )
    elif before < cutoff_ms:
        connection.execute(update(schema.retention_cutoff).values(cutoff_ms=cutoff_ms))


def _old_rows(rows_cutoff_ms: int, sums_cutoff_ms: int) -> list[tuple[Table, Select[Any]]]:
    """The tables with the queries for the keys of their old rows."""
    every_epoch = select(schema.epochs.c.number).union_all(select(literal(0)))

    def by_time(table: Table, time: str, before: int) -> tuple[Table, Select[Any]]:
        return table, select(*table.primary_key).where(table.c[time] < before)

    def by_epoch(table: Table, time: str, before: int) -> tuple[Table, Select[Any]]:
        _, keys = by_time(table, time, before)
        return table, keys.where(table.c.epoch.in_(every_epoch))

    firsts, units = schema.first_assignments, schema.unit_sums
    units_of_old_firsts = (
        select(*units.primary_key)
        .join_from(
            firsts,
            units,
            (units.c.experiment == firsts.c.experiment) & (units.c.unit == firsts.c.unit),
        )
        .where(firsts.c.at_ms < sums_cutoff_ms)
    )
    return [
        by_time(schema.exposures, "at_ms", rows_cutoff_ms),
        by_time(schema.shadow_pairs, "at_ms", rows_cutoff_ms),
        by_time(schema.feedback, "answered_at_ms", rows_cutoff_ms),
        by_epoch(schema.labelled_feedback, "at_ms", sums_cutoff_ms),
        by_epoch(schema.exposure_sums, "minute", sums_cutoff_ms // MINUTE_MS),
        by_epoch(schema.latency_sums, "minute", sums_cutoff_ms // MINUTE_MS),
        by_epoch(schema.pair_sums, "minute", sums_cutoff_ms // MINUTE_MS),
        by_epoch(schema.unit_pair_sums, "day", sums_cutoff_ms // DAY_MS),
        (units, units_of_old_firsts),  # before the first assignments
        by_time(firsts, "at_ms", sums_cutoff_ms),
        by_time(schema.kept_images, "at_ms", sums_cutoff_ms),
        by_time(schema.reviews, "at_ms", sums_cutoff_ms),
    ]


def _remove(connection: Connection, table: Table, query: Select[Any], limit: int) -> int:
    keys = connection.execute(query.limit(limit)).all()
    bulk.remove(connection, table, [tuple(key) for key in keys])
    return len(keys)


def _row_count(batch: Batch) -> int:
    return len(batch.exposures) + len(batch.pairs) + len(batch.feedback)
