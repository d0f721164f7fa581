"""Reviews: the label that a person gives to an image, one review an image.

A review cannot be changed: after it the reviewer sees the predictions, so a second review would
not be blind.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select

from serve_app.store import schema

_reviews = schema.reviews.c


@dataclass(frozen=True, slots=True)
class Review:
    """A person's label for one image.

    Attributes:
        number: From 1, in the order of arrival.
        answer: A label, `other`, or `cannot_tell`.
        at_ms: Milliseconds since 1970 UTC.
    """

    number: int
    answer: str
    at_ms: int
    actor: str
    reason: str


def add_review(
    connection: Connection, digest: str, answer: str, actor: str, reason: str, at_ms: int
) -> int:
    """Add a review of an image that has none; return its number."""
    number: int = (connection.scalar(select(func.max(_reviews.number))) or 0) + 1
    connection.execute(
        insert(schema.reviews).values(
            digest=digest, number=number, answer=answer, at_ms=at_ms, actor=actor, reason=reason
        )
    )
    return number
