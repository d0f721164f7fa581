"""Images that a shadow keeps for review: few, for a while, encrypted.

An image is there once for each pair of versions, however often it was sent: one user's favourite
must not count a hundred times. What was reviewed stays without its image.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from serve_app.domain import KeptImage
from serve_app.store import schema
from serve_app.store.epochs import Timeline
from serve_app.store.reviews import Review
from serve_app.store.scope import Scope

_kept = schema.kept_images.c
_reviews = schema.reviews.c
_FACTS = (
    *("writer", "sequence", "at_ms", "expires_at_ms", "region", "probability", "digest"),
    *("stable", "live_label", "candidate", "label"),
)
_REVIEW = ("number", "answer", "at_ms", "actor", "reason")
_IS_REVIEWED = _reviews.number.is_not(None)
_QUERY = select(
    *(_kept[name] for name in (*_FACTS, "labels")),
    *(_reviews[name].label(f"review_{name}") for name in _REVIEW),
).select_from(schema.kept_images.outerjoin(schema.reviews, _kept.digest == _reviews.digest))


@dataclass(frozen=True, slots=True)
class StoredImage:
    """What is known of an image; the fields are those of `serve_app.domain.KeptImage`.

    Attributes:
        review: None if nobody has said yet what it shows.
    """

    writer: str
    sequence: int
    at_ms: int
    expires_at_ms: int
    region: str | None
    probability: float
    digest: str
    stable: str
    live_label: str
    candidate: str
    label: str
    labels: tuple[str, ...]
    review: Review | None

    @property
    def id(self) -> str:
        """Its name in URLs."""
        return f"{self.writer}-{self.sequence}"

    @property
    def is_agreement(self) -> bool:
        """Whether both versions said the same of it."""
        return self.live_label == self.label


def add(connection: Connection, images: Iterable[KeptImage], timeline: Timeline) -> None:
    """Store those that are not there yet, and let go what exceeds their room."""
    for image in images:
        if not _is_known(connection, image):
            connection.execute(
                insert(schema.kept_images).values(
                    **{name: getattr(image, name) for name in (*_FACTS, "rule_id", "encrypted")},
                    labels=json.dumps(image.labels),
                    epoch=timeline.epoch(image) or 0,
                )
            )
            _make_room(connection, image.room)


def read(connection: Connection, scope: Scope) -> list[StoredImage]:
    """Those of a scope, in the order of `to_review`."""
    query = _QUERY.where(*scope.conditions(schema.kept_images, "at_ms"))
    return [_stored(row) for row in connection.execute(query.order_by(_kept.digest))]


def to_review(connection: Connection, now_ms: int, limit: int) -> list[StoredImage]:
    """Those without a review, in the order of their digests.

    It is a random one, so that whoever stops after twenty has reviewed a random sample.
    """
    query = _QUERY.where(_is_waiting(now_ms)).order_by(_kept.digest, _kept.candidate)
    return [_stored(row) for row in connection.execute(query.limit(limit))]


def reviewed(connection: Connection, limit: int) -> list[StoredImage]:
    """Those with a review, the newest review first."""
    query = _QUERY.where(_IS_REVIEWED).order_by(_reviews.number.desc(), _kept.candidate)
    return [_stored(row) for row in connection.execute(query.limit(limit))]


def waiting(connection: Connection, now_ms: int) -> int:
    """How many have no review."""
    query = _QUERY.where(_is_waiting(now_ms)).subquery()
    return connection.scalar(select(func.count()).select_from(query)) or 0


def find(connection: Connection, image_id: str, now_ms: int) -> StoredImage | None:
    """None if there is none, or it has expired without a review."""
    query = _QUERY.where(_named(image_id), or_(_IS_REVIEWED, _kept.expires_at_ms > now_ms))
    row = connection.execute(query).one_or_none()
    return _stored(row) if row else None


def encrypted(connection: Connection, image_id: str, now_ms: int) -> bytes | None:
    """None if it is not kept, or not any more."""
    return connection.scalar(
        select(_kept.encrypted).where(_named(image_id), _kept.expires_at_ms > now_ms)
    )


def remove_expired(connection: Connection, now_ms: int) -> int:
    """Let go those whose time has come; how many."""
    return _let_go(connection, _kept.expires_at_ms <= now_ms)


def _is_known(connection: Connection, image: KeptImage) -> bool:
    same = or_(
        and_(_kept.writer == image.writer, _kept.sequence == image.sequence),
        and_(
            _kept.digest == image.digest,
            _kept.stable == image.stable,
            _kept.candidate == image.candidate,
        ),
    )
    return connection.scalar(select(_kept.sequence).where(same).limit(1)) is not None


def _make_room(connection: Connection, room: int) -> None:
    """Reviewed images have served their purpose and go first; then the oldest."""
    there = connection.scalar(select(func.count(_kept.encrypted))) or 0
    if there <= room:
        return
    first = (
        _QUERY.where(_kept.encrypted.is_not(None))
        .order_by(_IS_REVIEWED.desc(), _kept.at_ms, _kept.writer, _kept.sequence)
        .limit(there - room)
    )
    for row in connection.execute(first).all():
        _let_go(connection, and_(_kept.writer == row.writer, _kept.sequence == row.sequence))


def _let_go(connection: Connection, which: ColumnElement[bool]) -> int:
    """Remove images; what was said of them stays, if they were reviewed."""
    are_there = and_(which, _kept.encrypted.is_not(None))
    are_reviewed = _kept.digest.in_(select(_reviews.digest))
    emptied = connection.execute(
        update(schema.kept_images).where(are_there, are_reviewed).values(encrypted=None)
    )
    removed = connection.execute(delete(schema.kept_images).where(are_there, ~are_reviewed))
    return emptied.rowcount + removed.rowcount


def _is_waiting(now_ms: int) -> ColumnElement[bool]:
    return and_(_reviews.number.is_(None), _kept.expires_at_ms > now_ms)


def _named(image_id: str) -> ColumnElement[bool]:
    writer, _, sequence = image_id.partition("-")
    return and_(_kept.writer == writer, _kept.sequence == int(sequence))


def _stored(row: Row[Any]) -> StoredImage:
    facts: dict[str, Any] = {name: getattr(row, name) for name in _FACTS}
    said = {name: getattr(row, f"review_{name}") for name in _REVIEW}
    review = Review(**said) if row.review_number is not None else None
    return StoredImage(**facts, labels=tuple(json.loads(row.labels)), review=review)
