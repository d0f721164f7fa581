"""Blind review: the image comes first, and what the versions said of it afterwards."""

from __future__ import annotations

from typing import Any

from serve_app.clock import now_ms
from serve_app.errors import AlreadyReviewed, BadReview, NoSuchImage
from serve_app.privacy.image_cipher import ImageCipher
from serve_app.store.kept_images import StoredImage
from serve_app.store.store import Store, read_store

OTHER, CANNOT_TELL = "other", "cannot_tell"


class ReviewService:
    """Shows images over connections of its own; safe in threads.

    Every method raises `StoreError` if the database fails.
    """

    def __init__(self, database_url: str, image_cipher: ImageCipher) -> None:
        self._store = read_store(database_url)
        self._cipher = image_cipher

    def disagreements(self, limit: int, reviewed: bool) -> dict[str, Any]:
        """Images that wait for a review, in a random order that stays; or the reviewed ones,
        the newest review first."""
        at_ms = now_ms()
        found = self._store.reviewed(limit) if reviewed else self._store.to_review(at_ms, limit)
        return {
            "waiting": self._store.waiting_for_review(at_ms),
            "disagreements": [_content(image) for image in found],
        }

    def disagreement(self, image_id: str) -> dict[str, Any]:
        """What may be told of one.

        Raises:
            NoSuchImage: It is not kept, or not any more.
        """
        return _content(_find(self._store, image_id, now_ms()))

    def image(self, image_id: str) -> bytes:
        """A JPEG.

        Raises:
            NoSuchImage: See `disagreement`; or it is encrypted with a key that is gone.
        """
        encrypted = self._store.encrypted_image(image_id, now_ms())
        if encrypted is None:
            raise _gone(image_id)
        return self._cipher.decrypt(encrypted)

    def close(self) -> None:
        """Close the connections."""
        self._store.close()


def answers(image: StoredImage) -> list[str]:
    """What may be said of an image."""
    return list(dict.fromkeys((*image.labels, OTHER, CANNOT_TELL)))


def review(store: Store, image_id: str, answer: str, actor: str, reason: str, at_ms: int) -> int:
    """Keep what somebody says of an image; the review's number.

    To be called by the store's only writer.

    Raises:
        NoSuchImage: It is not kept, or not any more.
        BadReview: It is none of `answers`.
        AlreadyReviewed: Somebody was first.
    """
    image = _find(store, image_id, at_ms)
    if answer not in answers(image):
        raise BadReview(
            f"the answer is '{answer[:50]}': expected one of {', '.join(answers(image))}"
        )
    if image.review:
        raise AlreadyReviewed(
            f"{image.review.actor} has said '{image.review.answer}' of the image"
            f" {image_id}: the first answer stays, for no later one is blind"
        )
    return store.add_review(image.digest, answer, actor, reason, at_ms)


def _find(store: Store, image_id: str, at_ms: int) -> StoredImage:
    image = store.kept_image(image_id, at_ms)
    if image is None:
        raise _gone(image_id)
    return image


def _gone(image_id: str) -> NoSuchImage:
    return NoSuchImage(
        f"the image {image_id} is not kept, or not any more:"
        " GET /control/disagreements lists those that are"
    )


def _content(image: StoredImage) -> dict[str, Any]:
    """As JSON; what could help to guess what the versions said comes with the review."""
    asked = {
        "id": image.id,
        "at_ms": image.at_ms,
        "expires_at_ms": image.expires_at_ms,
        "answers": answers(image),
        "reviewed": image.review is not None,
    }
    if image.review is None:
        return asked
    return asked | {
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
