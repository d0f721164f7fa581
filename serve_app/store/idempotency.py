"""Idempotency keys: which changes were asked for under a name, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from serve_app.store import schema

KEPT_MS = 24 * 60 * 60 * 1000

_keys = schema.idempotency.c


@dataclass(frozen=True, slots=True)
class Claim:
    """What a key stands for.

    Attributes:
        request: A digest of what was asked.
        revision: What was answered; None if that was not yet.
    """

    request: str
    revision: int | None


def claim(connection: Connection, key: str, request: str, at_ms: int) -> Claim | None:
    """None if the key is this request's from now on; else what it stands for already."""
    connection.execute(delete(schema.idempotency).where(_keys.at_ms <= at_ms - KEPT_MS))
    row = connection.execute(
        select(_keys.request, _keys.revision).where(_keys.key == key)
    ).one_or_none()
    if row is not None:
        return Claim(row.request, row.revision)
    connection.execute(
        insert(schema.idempotency).values(key=key, request=request, at_ms=at_ms, revision=None)
    )
    return None


def settle(connection: Connection, key: str, revision: int) -> None:
    """Keep what was answered."""
    connection.execute(update(schema.idempotency).where(_keys.key == key).values(revision=revision))


def release(connection: Connection, key: str) -> None:
    """Forget the key: nothing was done."""
    connection.execute(delete(schema.idempotency).where(_keys.key == key))
