"""Blind review: a reviewer sees the predictions for an image only after the review."""

from __future__ import annotations

from typing import Any

from serve_app.clock import now_ms
from serve_app.control_plane.changes import Review
from serve_app.errors import AlreadyReviewed, BadReview, NoSuchImage
from serve_app.evidence.reviews import CANNOT_TELL, OTHER
from serve_app.privacy.image_cipher import ImageCipher
from serve_app.store.audit import NewAuditEntry
from serve_app.store.kept_images import StoredImage
from serve_app.store.store import Store, read_store


class ReviewService:
    """Reads kept images and reviews, over its own database connections. Thread-safe.

    Every method raises `StoreError` if the database fails.
    """

    def __init__(self, database_url: str, image_cipher: ImageCipher) -> None:
        self._store = read_store(database_url)
        self._cipher = image_cipher

    def list_images(self, limit: int, reviewed: bool) -> dict[str, Any]:
        """The images without a review, in a fixed random order; or the reviewed images, newest
        review first."""
        at_ms = now_ms()
        images = (
            self._store.reviewed_images(limit)
            if reviewed
            else self._store.unreviewed_images(at_ms, limit)
        )
        return {
            "waiting": self._store.count_unreviewed_images(at_ms),
            "images": [_to_json(image) for image in images],
        }

    def find_image(self, image_id: str) -> dict[str, Any]:
        """One image as JSON; its predictions only if it has a review.

        Raises:
            NoSuchImage: It was never kept, or has been deleted.
        """
        return _to_json(_find_stored_image(self._store, image_id, now_ms()))

    def image_content(self, image_id: str) -> bytes:
        """The image as a JPEG.

        Raises:
            NoSuchImage: See `find_image`; or it was encrypted with another key.
        """
        encrypted = self._store.encrypted_image(image_id, now_ms())
        if encrypted is None:
            raise _no_such_image(image_id)
        return self._cipher.decrypt(encrypted)

    def close(self) -> None:
        """Close the connections."""
        self._store.close()


def possible_answers(image: StoredImage) -> list[str]:
    """The possible answers for an image."""
    return list(dict.fromkeys((*image.labels, OTHER, CANNOT_TELL)))


def add_review(store: Store, review: Review, at_ms: int) -> int:
    """Store a review of an image, with its audit entry; the number of the review.

    To be called in the store's only writer.

    Raises:
        NoSuchImage: It was never kept, or has been deleted.
        BadReview: The answer is not one of `possible_answers`.
        AlreadyReviewed: The image has a review.
    """
    image = _find_stored_image(store, review.image_id, at_ms)
    if review.answer not in possible_answers(image):
        raise BadReview(
            f"the answer is '{review.answer[:50]}':"
            f" expected one of {', '.join(possible_answers(image))}"
        )
    if image.review:
        raise AlreadyReviewed(
            f"{image.review.actor} has reviewed the image {image.id} as '{image.review.answer}':"
            " the first review stays, because a later one is not blind"
        )
    details = {"image": image.id, "answer": review.answer}
    entry = NewAuditEntry("review", review.actor, review.reason, details)
    return store.add_review(image.digest, review.answer, entry, at_ms)


def _find_stored_image(store: Store, image_id: str, at_ms: int) -> StoredImage:
    image = store.kept_image(image_id, at_ms)
    if image is None:
        raise _no_such_image(image_id)
    return image


def _no_such_image(image_id: str) -> NoSuchImage:
    return NoSuchImage(
        f"the image {image_id} is not kept, or has been deleted:"
        " GET /control/reviews lists the kept images"
    )


def _to_json(image: StoredImage) -> dict[str, Any]:
    """An image as JSON; the fields that hint at the predictions only if it has a review."""
    content = {
        "id": image.id,
        "at_ms": image.at_ms,
        "expires_at_ms": image.expires_at_ms,
        "answers": possible_answers(image),
        "reviewed": image.review is not None,
    }
    if image.review is None:
        return content
    return content | {
        "region": image.region,
        "kind": "agreement" if image.is_agreement else "disagreement",
        "probability": image.probability,
        "stable": {"version": image.stable, "label": image.live_label},
        "candidate": {"version": image.candidate, "label": image.label},
        "review": {
            "answer": image.review.answer,
            "at_ms": image.review.at_ms,
            "actor": image.review.actor,
            "reason": image.review.reason,
        },
    }
