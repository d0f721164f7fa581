"""Revisions: the deployed configurations, in order."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select

from serve_app.store import schema

_revisions = schema.revisions.c


@dataclass(frozen=True, slots=True)
class Revision:
    """A deployed configuration.

    Attributes:
        number: From 1.
        at_ms: Milliseconds since 1970 UTC.
        document: The configuration, JSON values.
        digest: SHA-256 of the canonical JSON of the document, hex.
    """

    number: int
    at_ms: int
    actor: str
    reason: str
    document: dict[str, Any]
    digest: str


def add_revision(
    connection: Connection, document: dict[str, Any], actor: str, reason: str, at_ms: int
) -> int:
    """Add a revision unless the latest one has the same document; return the latest number."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    last = connection.execute(
        select(_revisions.number, _revisions.digest).order_by(_revisions.number.desc())
    ).first()
    if last and last.digest == digest:
        return int(last.number)
    number = last.number + 1 if last else 1
    connection.execute(
        insert(schema.revisions).values(
            number=number, at_ms=at_ms, actor=actor, reason=reason, document=text, digest=digest
        )
    )
    return number


def latest(connection: Connection, limit: int) -> list[Revision]:
    """The latest revisions, newest first."""
    rows = connection.execute(
        select(schema.revisions).order_by(_revisions.number.desc()).limit(limit)
    )
    return [_revision(row) for row in rows.mappings()]


def find(connection: Connection, number: int) -> Revision | None:
    """The revision with a number; None if there is none."""
    rows = connection.execute(select(schema.revisions).where(_revisions.number == number))
    row = rows.mappings().one_or_none()
    return _revision(row) if row else None


def _revision(row: RowMapping) -> Revision:
    return Revision(**{**row, "document": json.loads(row["document"])})
