"""Shadow pairs: an exposure of stable and the candidate's copy of it."""

from __future__ import annotations

from dataclasses import fields

from sqlalchemy import Connection, select

from serve_app.domain import ShadowPair
from serve_app.store import schema

_pairs = schema.shadow_pairs.c
_FIELDS = tuple(field.name for field in fields(ShadowPair))


def list_since(connection: Connection, since_ms: int, limit: int) -> list[ShadowPair]:
    """The pairs with `at_ms` >= `since_ms`, newest first."""
    rows = connection.execute(
        select(*(_pairs[name] for name in _FIELDS))
        .where(_pairs.at_ms >= since_ms)
        .order_by(_pairs.at_ms.desc(), _pairs.writer, _pairs.sequence.desc())
        .limit(limit)
    )
    return [ShadowPair(**row) for row in rows.mappings()]
