"""How long what is recorded is kept.

Rows are known by their writers and numbers, so a batch may come twice; but not those that were
removed. Hence the store remembers a horizon, the time before which it has removed rows, and
rejects and counts what is older: what is as old as the horizon or younger is there, if it ever
came. Feedback goes with the answer that it is about, and its words stay together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    insert,
    literal,
    select,
    update,
)

from serve_app.clock import DAY_MS, MINUTE_MS
from serve_app.domain import ROWS_KEPT_DAYS
from serve_app.recording.batch import Batch
from serve_app.store import bulk, schema

SLICE = 2_000  # rows that are removed at once: some ten milliseconds

_horizon = schema.horizon.c


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days rows and sums are kept.

    Attributes:
        rows_days: Exposures, shadow pairs, feedback.
        sums_days: Sums, and what was said of answers; at least as many.
    """

    rows_days: int = ROWS_KEPT_DAYS
    sums_days: int = 400

    def __post_init__(self) -> None:
        if not 1 <= self.rows_days <= self.sums_days:
            raise ValueError(
                f"rows are kept for {self.rows_days} days and sums for {self.sums_days}:"
                " expected at least 1, and no fewer for the sums"
            )


def prune(connection: Connection, now_ms: int, retention: Retention) -> int:
    """Remove a slice of what is too old; how many rows, 0 if none is left."""
    rows_ms = now_ms - retention.rows_days * DAY_MS
    sums_ms = now_ms - retention.sums_days * DAY_MS
    _advance(connection, rows_ms)
    left = SLICE
    for table, condition in _too_old(rows_ms, sums_ms):
        left -= _remove(connection, table, condition, left)
        if not left:
            break
    return SLICE - left


def admit(connection: Connection, batch: Batch) -> Batch:
    """What of a batch is not older than the horizon; the rest is counted."""
    rows_ms = connection.scalar(select(_horizon.rows_ms))
    if rows_ms is None:
        return batch
    admitted = replace(
        batch,
        exposures=tuple(e for e in batch.exposures if e.at_ms >= rows_ms),
        pairs=tuple(p for p in batch.pairs if p.at_ms >= rows_ms),
        feedback=tuple(f for f in batch.feedback if f.answered_at_ms >= rows_ms),
    )
    rejected = _entries(batch) - _entries(admitted)
    if rejected:
        connection.execute(update(schema.horizon).values(rejected=_horizon.rejected + rejected))
    return admitted


def rejected(connection: Connection) -> int:
    """How many entries came too late to be taken."""
    return connection.scalar(select(_horizon.rejected)) or 0


def _advance(connection: Connection, rows_ms: int) -> None:
    """It never goes back: what was removed does not return."""
    before = connection.scalar(select(_horizon.rows_ms))
    if before is None:
        connection.execute(insert(schema.horizon).values(id=1, rows_ms=rows_ms, rejected=0))
    elif before < rows_ms:
        connection.execute(update(schema.horizon).values(rows_ms=rows_ms))


def _too_old(rows_ms: int, sums_ms: int) -> list[tuple[Table, ColumnElement[bool]]]:
    every_epoch = select(schema.epochs.c.number).union_all(select(literal(0)))

    def by_epoch(table: Table, time: str, before: int) -> tuple[Table, ColumnElement[bool]]:
        return table, table.c.epoch.in_(every_epoch) & (table.c[time] < before)

    firsts = schema.first_assignments
    return [
        (schema.exposures, schema.exposures.c.at_ms < rows_ms),
        (schema.shadow_pairs, schema.shadow_pairs.c.at_ms < rows_ms),
        (schema.feedback, schema.feedback.c.answered_at_ms < rows_ms),
        by_epoch(schema.labelled_feedback, "at_ms", sums_ms),
        by_epoch(schema.exposure_sums, "minute", sums_ms // MINUTE_MS),
        by_epoch(schema.latency_sums, "minute", sums_ms // MINUTE_MS),
        by_epoch(schema.pair_sums, "minute", sums_ms // MINUTE_MS),
        by_epoch(schema.unit_sums, "day", sums_ms // DAY_MS),
        by_epoch(schema.unit_pair_sums, "day", sums_ms // DAY_MS),
        (firsts, firsts.c.at_ms < sums_ms),
        (schema.kept_images, schema.kept_images.c.at_ms < sums_ms),
        (schema.reviews, schema.reviews.c.at_ms < sums_ms),
    ]


def _remove(connection: Connection, table: Table, condition: ColumnElement[bool], most: int) -> int:
    keys = connection.execute(select(*table.primary_key).where(condition).limit(most)).all()
    bulk.remove(connection, table, [tuple(key) for key in keys])
    return len(keys)


def _entries(batch: Batch) -> int:
    return len(batch.exposures) + len(batch.pairs) + len(batch.feedback)
