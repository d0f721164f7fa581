"""Idempotency keys: the request that claimed each key, and its result."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from serve_app.store import schema

KEPT_MS = 24 * 60 * 60 * 1000

_keys = schema.idempotency_keys.c


@dataclass(frozen=True, slots=True)
class Claim:
    """The request that holds a key.

    Attributes:
        request_digest: Identifies the request.
        revision: Its result; None while it is in progress.
    """

    request_digest: str
    revision: int | None


def claim(connection: Connection, key: str, request_digest: str, at_ms: int) -> Claim | None:
    """Claim a key for a request. Returns the present claim, or None if the key was free."""
    connection.execute(delete(schema.idempotency_keys).where(_keys.at_ms <= at_ms - KEPT_MS))
    row = connection.execute(
        select(_keys.request_digest, _keys.revision).where(_keys.key == key)
    ).one_or_none()
    if row is not None:
        return Claim(row.request_digest, row.revision)
    connection.execute(
        insert(schema.idempotency_keys).values(
            key=key, request_digest=request_digest, at_ms=at_ms, revision=None
        )
    )
    return None


def settle(connection: Connection, key: str, revision: int) -> None:
    """Store the result of the request that holds the key."""
    connection.execute(
        update(schema.idempotency_keys).where(_keys.key == key).values(revision=revision)
    )


def release(connection: Connection, key: str) -> None:
    """Free the key after a request that changed nothing."""
    connection.execute(delete(schema.idempotency_keys).where(_keys.key == key))
