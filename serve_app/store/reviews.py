"""Reviews: what people said that images show, one an image.

The first one stays: whoever has answered is shown what the versions said, and a later answer would
not be blind.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select

from serve_app.store import schema

_reviews = schema.reviews.c


@dataclass(frozen=True, slots=True)
class Review:
    """What somebody said.

    Attributes:
        number: From 1, in the order in which they came.
        answer: A label, or `other`, or `cannot_tell`.
        at_ms: Milliseconds since 1970 UTC.
    """

    number: int
    answer: str
    at_ms: int
    actor: str
    reason: str


def add(
    connection: Connection, digest: str, answer: str, actor: str, reason: str, at_ms: int
) -> int:
    number: int = (connection.scalar(select(func.max(_reviews.number))) or 0) + 1
    connection.execute(
        insert(schema.reviews).values(
            digest=digest, number=number, answer=answer, at_ms=at_ms, actor=actor, reason=reason
        )
    )
    return number
