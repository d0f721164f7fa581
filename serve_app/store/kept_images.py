"""Images that are kept for review: a bounded number, for a limited time, encrypted.

An image is kept once for each pair of versions, however often it is sent, so that one user's
favourite does not count many times. The row of a reviewed image outlives the image.
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

from serve_app.recording.records import KeptImage
from serve_app.store import schema
from serve_app.store.epochs import Timeline
from serve_app.store.reviews import Review
from serve_app.store.scope import Scope
from serve_app.store.units import hash64

_kept = schema.kept_images.c
_reviews = schema.reviews.c
_IMAGE_FIELDS = (
    *("writer", "sequence", "at_ms", "expires_at_ms", "region", "probability", "digest"),
    *("stable", "live_label", "candidate", "label"),
)
_REVIEW_FIELDS = ("number", "answer", "at_ms", "actor", "reason")
_IS_REVIEWED = _reviews.number.is_not(None)
_QUERY = select(
    *(_kept[name] for name in (*_IMAGE_FIELDS, "labels", "unit")),
    *(_reviews[name].label(f"review_{name}") for name in _REVIEW_FIELDS),
).select_from(schema.kept_images.outerjoin(schema.reviews, _kept.digest == _reviews.digest))


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A kept image without its content; the fields of `serve_app.recording.records.KeptImage`.

    Attributes:
        unit: See `serve_app.store.units.hash64`.
        review: None if the image is not reviewed.
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
    unit: int
    review: Review | None

    @property
    def id(self) -> str:
        """The image's name in URLs."""
        return f"{self.writer}-{self.sequence}"

    @property
    def is_agreement(self) -> bool:
        """Whether both versions predicted the same label."""
        return self.live_label == self.label


def add_images(connection: Connection, images: Iterable[KeptImage], timeline: Timeline) -> None:
    """Store images that are not stored yet; remove others if there are more than `room`."""
    for image in images:
        if not _is_stored(connection, image):
            values = {
                name: getattr(image, name) for name in (*_IMAGE_FIELDS, "rule_id", "encrypted")
            }
            connection.execute(
                insert(schema.kept_images).values(
                    **values,
                    labels=json.dumps(image.labels),
                    unit=hash64(image.unit),
                    epoch=timeline.epoch(image) or 0,
                )
            )
            _make_room(connection, image.room)


def read(connection: Connection, scope: Scope) -> list[StoredImage]:
    """The images of a scope, reviewed or not, in the order of `unreviewed`."""
    query = _QUERY.where(*scope.conditions(schema.kept_images, "at_ms"))
    return [_image(row) for row in connection.execute(query.order_by(_kept.digest))]


def unreviewed(connection: Connection, now_ms: int, limit: int) -> list[StoredImage]:
    """The images without a review, ordered by digest.

    The order is random, so that the first n images are a random sample.
    """
    query = _QUERY.where(_is_unreviewed(now_ms)).order_by(_kept.digest, _kept.candidate)
    return [_image(row) for row in connection.execute(query.limit(limit))]


def reviewed(connection: Connection, limit: int) -> list[StoredImage]:
    """The images with a review, latest review first."""
    query = _QUERY.where(_IS_REVIEWED).order_by(_reviews.number.desc(), _kept.candidate)
    return [_image(row) for row in connection.execute(query.limit(limit))]


def count_unreviewed(connection: Connection, now_ms: int) -> int:
    """The number of images without a review."""
    query = _QUERY.where(_is_unreviewed(now_ms)).subquery()
    return connection.scalar(select(func.count()).select_from(query)) or 0


def find(connection: Connection, image_id: str, now_ms: int) -> StoredImage | None:
    """The image with an id; None if it is unknown, or expired without a review."""
    query = _QUERY.where(_has_id(image_id), or_(_IS_REVIEWED, _kept.expires_at_ms > now_ms))
    row = connection.execute(query).one_or_none()
    return _image(row) if row else None


def encrypted(connection: Connection, image_id: str, now_ms: int) -> bytes | None:
    """The encrypted content of an image; None if it is unknown or expired."""
    return connection.scalar(
        select(_kept.encrypted).where(_has_id(image_id), _kept.expires_at_ms > now_ms)
    )


def remove_expired(connection: Connection, now_ms: int) -> int:
    """Remove the content of expired images; return their number."""
    return _remove(connection, _kept.expires_at_ms <= now_ms)


def _is_stored(connection: Connection, image: KeptImage) -> bool:
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
    """Remove the images beyond `room`: reviewed ones first, then the oldest."""
    count = connection.scalar(select(func.count(_kept.encrypted))) or 0
    if count <= room:
        return
    surplus = (
        _QUERY.where(_kept.encrypted.is_not(None))
        .order_by(_IS_REVIEWED.desc(), _kept.at_ms, _kept.writer, _kept.sequence)
        .limit(count - room)
    )
    for row in connection.execute(surplus).all():
        _remove(connection, and_(_kept.writer == row.writer, _kept.sequence == row.sequence))


def _remove(connection: Connection, condition: ColumnElement[bool]) -> int:
    """Remove the content of reviewed images, and the whole rows of the others."""
    has_content = and_(condition, _kept.encrypted.is_not(None))
    is_reviewed = _kept.digest.in_(select(_reviews.digest))
    emptied = connection.execute(
        update(schema.kept_images).where(has_content, is_reviewed).values(encrypted=None)
    )
    removed = connection.execute(delete(schema.kept_images).where(has_content, ~is_reviewed))
    return emptied.rowcount + removed.rowcount


def _is_unreviewed(now_ms: int) -> ColumnElement[bool]:
    return and_(_reviews.number.is_(None), _kept.expires_at_ms > now_ms)


def _has_id(image_id: str) -> ColumnElement[bool]:
    writer, _, sequence = image_id.partition("-")
    return and_(_kept.writer == writer, _kept.sequence == int(sequence))


def _image(row: Row[Any]) -> StoredImage:
    values: dict[str, Any] = {name: getattr(row, name) for name in _IMAGE_FIELDS}
    review_values = {name: getattr(row, f"review_{name}") for name in _REVIEW_FIELDS}
    review = Review(**review_values) if row.review_number is not None else None
    labels = tuple(json.loads(row.labels))
    return StoredImage(**values, labels=labels, unit=row.unit, review=review)
