"""The audit log: who changed what, when and why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from serve_app.store import schema

_audit = schema.audit.c


@dataclass(frozen=True, slots=True)
class NewAuditEntry:
    """An entry that is to be added; fields as in `AuditEntry`."""

    action: str
    actor: str
    reason: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change.

    Attributes:
        at_ms: Milliseconds since 1970 UTC.
        details: Facts that depend on the action; JSON values.
    """

    id: int
    at_ms: int
    actor: str
    action: str
    reason: str
    details: dict[str, Any]


def add_entry(connection: Connection, entry: NewAuditEntry, at_ms: int) -> None:
    connection.execute(
        insert(schema.audit).values(
            at_ms=at_ms,
            actor=entry.actor,
            action=entry.action,
            reason=entry.reason,
            details=json.dumps(entry.details, sort_keys=True),
        )
    )


def latest(connection: Connection, limit: int) -> list[AuditEntry]:
    """The latest entries, newest first."""
    rows = connection.execute(select(schema.audit).order_by(_audit.id.desc()).limit(limit))
    return [AuditEntry(**{**row, "details": json.loads(row["details"])}) for row in rows.mappings()]
