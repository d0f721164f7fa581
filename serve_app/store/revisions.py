"""Revisions: the configurations that were decided, in order, and how far each one got."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from serve_app.digest import canonical_json, json_digest
from serve_app.store import schema
from serve_app.store.audit import NewAuditEntry

_revisions = schema.revisions.c


class RevisionKind(StrEnum):
    """The change that made a revision.

    Attributes:
        START: `serve-app up` started the service with it.
        DEPLOY: A configuration was deployed.
        RULE: A rule was set.
        UPDATE: A rolling update.
        RECREATE: An update that recreated the data plane.
        RESTORE: An earlier revision was restored.
        OUTSIDE: Ray's command or dashboard deployed it.
    """

    START = "start"
    DEPLOY = "deploy"
    RULE = "rule"
    UPDATE = "update"
    RECREATE = "recreate"
    RESTORE = "restore"
    OUTSIDE = "outside"


class RevisionState(StrEnum):
    """How far a revision got.

    Attributes:
        PENDING: It was decided; Serve may not have it yet.
        DEPLOYED: Serve has it.
        FAILED: Serve rejected it.
    """

    PENDING = "pending"
    DEPLOYED = "deployed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class NewRevision:
    """A revision that is to be added.

    Attributes:
        document: The configuration, JSON values.
    """

    kind: RevisionKind
    document: dict[str, Any]
    actor: str
    reason: str
    state: RevisionState = RevisionState.PENDING


@dataclass(frozen=True, slots=True)
class Revision:
    """A configuration that was decided.

    Attributes:
        number: From 1.
        at_ms: When it was decided, milliseconds since 1970 UTC.
        document: The configuration, JSON values.
        digest: SHA-256 of the canonical JSON of the document, hex.
        in_force_at_ms: When it was first seen in force; None if it never was.
    """

    number: int
    at_ms: int
    actor: str
    reason: str
    kind: RevisionKind
    state: RevisionState
    in_force_at_ms: int | None
    document: dict[str, Any]
    digest: str


def audit_entry(revision: NewRevision | Revision, number: int) -> NewAuditEntry:
    """The audit entry of a revision with a number."""
    details = {"revision": number}
    return NewAuditEntry(revision.kind.value, revision.actor, revision.reason, details)


def add(connection: Connection, new: NewRevision, at_ms: int) -> int:
    """Add a revision unless the latest one has the same document; return the latest number.

    A failed revision is never the same: its document may be tried again. Nor is a recreation.
    """
    digest = json_digest(new.document)
    last = connection.execute(
        select(_revisions.number, _revisions.digest, _revisions.state)
        .order_by(_revisions.number.desc())
        .limit(1)
    ).first()
    is_same = last and last.digest == digest and last.state != RevisionState.FAILED
    if last and is_same and new.kind is not RevisionKind.RECREATE:
        return int(last.number)
    number = last.number + 1 if last else 1
    connection.execute(
        insert(schema.revisions).values(
            number=number,
            at_ms=at_ms,
            actor=new.actor,
            reason=new.reason,
            kind=new.kind,
            state=new.state,
            document=canonical_json(new.document),
            digest=digest,
        )
    )
    return number


def set_state(connection: Connection, number: int, state: RevisionState) -> None:
    connection.execute(
        update(schema.revisions).where(_revisions.number == number).values(state=state)
    )


def set_in_force(connection: Connection, number: int, at_ms: int) -> None:
    """Record when a revision came into force; the first time stays."""
    connection.execute(
        update(schema.revisions)
        .where(_revisions.number == number, _revisions.in_force_at_ms.is_(None))
        .values(in_force_at_ms=at_ms)
    )


def latest(
    connection: Connection, limit: int, *states: RevisionState, in_force: bool = False
) -> list[Revision]:
    """The latest revisions, newest first.

    Args:
        states: Only revisions in these states; by default in any.
        in_force: Only revisions that were in force.
    """
    query = select(schema.revisions).order_by(_revisions.number.desc()).limit(limit)
    if states:
        query = query.where(_revisions.state.in_(states))
    if in_force:
        query = query.where(_revisions.in_force_at_ms.is_not(None))
    return [_revision(row) for row in connection.execute(query).mappings()]


def find(connection: Connection, number: int) -> Revision | None:
    """The revision with a number; None if there is none."""
    rows = connection.execute(select(schema.revisions).where(_revisions.number == number))
    row = rows.mappings().one_or_none()
    return _revision(row) if row else None


def _revision(row: RowMapping) -> Revision:
    return Revision(
        **{
            **row,
            "kind": RevisionKind(row["kind"]),
            "state": RevisionState(row["state"]),
            "document": json.loads(row["document"]),
        }
    )
