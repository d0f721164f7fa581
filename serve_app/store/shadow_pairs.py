"""Shadow pairs: what the candidate said of pictures that stable answered."""

from __future__ import annotations

from dataclasses import fields

from sqlalchemy import Connection, func, select

from serve_app.domain import Outcome, ShadowPair
from serve_app.recording.batch import Batch
from serve_app.store import numbered, schema

_pairs = schema.shadow_pairs.c
_FIELDS = tuple(field.name for field in fields(ShadowPair))


def add(connection: Connection, batch: Batch) -> int:
    """Store the pairs of a batch that are not stored yet; how many these were."""
    return len(numbered.add(connection, schema.shadow_pairs, batch.writer, batch.pairs))


def since(connection: Connection, since_ms: int, limit: int) -> list[ShadowPair]:
    """Those that had their outcome at `since_ms` or later, the newest first."""
    rows = connection.execute(
        select(*(_pairs[name] for name in _FIELDS))
        .where(_pairs.at_ms >= since_ms)
        .order_by(_pairs.at_ms.desc(), _pairs.writer, _pairs.sequence.desc())
        .limit(limit)
    )
    return [ShadowPair(**row) for row in rows.mappings()]


def tally(connection: Connection, rule_id: str | None) -> dict[str, int]:
    """How many pairs of a rule, or of all, had each outcome."""
    query = select(_pairs.outcome, func.count().label("pairs")).group_by(_pairs.outcome)
    if rule_id is not None:
        query = query.where(_pairs.rule_id == rule_id)
    counts = {row.outcome: row.pairs for row in connection.execute(query)}
    return {outcome.value: counts.get(outcome.value, 0) for outcome in Outcome}
