"""Blind review: the picture comes first, and what the versions said of it afterwards."""

from __future__ import annotations

from typing import Any

from serve_app.clock import now_ms
from serve_app.errors import AlreadyReviewed, BadReview, NoSuchPicture
from serve_app.seal import Seal
from serve_app.store.kept_pictures import StoredPicture
from serve_app.store.store import Store, read_store

OTHER, CANNOT_TELL = "other", "cannot_tell"


class ReviewDesk:
    """Shows pictures over connections of its own; safe in threads.

    Every method raises `StoreError` if the database fails.
    """

    def __init__(self, database_url: str, seal: Seal) -> None:
        self._store = read_store(database_url)
        self._seal = seal

    def disagreements(self, limit: int, reviewed: bool) -> dict[str, Any]:
        """Pictures that wait for a review, in a random order that stays; or the reviewed ones,
        the newest review first."""
        at_ms = now_ms()
        found = self._store.reviewed(limit) if reviewed else self._store.to_review(at_ms, limit)
        return {
            "waiting": self._store.waiting_for_review(at_ms),
            "disagreements": [_content(picture) for picture in found],
        }

    def disagreement(self, picture_id: str) -> dict[str, Any]:
        """What may be told of one.

        Raises:
            NoSuchPicture: It is not kept, or not any more.
        """
        return _content(_find(self._store, picture_id, now_ms()))

    def picture(self, picture_id: str) -> bytes:
        """A JPEG.

        Raises:
            NoSuchPicture: See `disagreement`; or it is sealed with a key that is gone.
        """
        sealed = self._store.sealed_picture(picture_id, now_ms())
        if sealed is None:
            raise _gone(picture_id)
        return self._seal.open(sealed)

    def close(self) -> None:
        """Close the connections."""
        self._store.close()


def answers(picture: StoredPicture) -> list[str]:
    """What may be said of a picture."""
    return list(dict.fromkeys((*picture.labels, OTHER, CANNOT_TELL)))


def review(store: Store, picture_id: str, answer: str, actor: str, reason: str, at_ms: int) -> int:
    """Keep what somebody says of a picture; the review's number.

    To be called by the store's only writer.

    Raises:
        NoSuchPicture: It is not kept, or not any more.
        BadReview: It is none of `answers`.
        AlreadyReviewed: Somebody was first.
    """
    picture = _find(store, picture_id, at_ms)
    if answer not in answers(picture):
        raise BadReview(
            f"the answer is '{answer[:50]}': expected one of {', '.join(answers(picture))}"
        )
    if picture.review:
        raise AlreadyReviewed(
            f"{picture.review.actor} has said '{picture.review.answer}' of the picture"
            f" {picture_id}: the first answer stays, for no later one is blind"
        )
    return store.add_review(picture.digest, answer, actor, reason, at_ms)


def _find(store: Store, picture_id: str, at_ms: int) -> StoredPicture:
    picture = store.kept_picture(picture_id, at_ms)
    if picture is None:
        raise _gone(picture_id)
    return picture


def _gone(picture_id: str) -> NoSuchPicture:
    return NoSuchPicture(
        f"the picture {picture_id} is not kept, or not any more:"
        " GET /control/disagreements lists those that are"
    )


def _content(picture: StoredPicture) -> dict[str, Any]:
    """As JSON; what could help to guess what the versions said comes with the review."""
    asked = {
        "id": picture.id,
        "at_ms": picture.at_ms,
        "expires_at_ms": picture.expires_at_ms,
        "answers": answers(picture),
        "reviewed": picture.review is not None,
    }
    if picture.review is None:
        return asked
    return asked | {
        "region": picture.region,
        "kind": "agreement" if picture.is_agreement else "disagreement",
        "probability": picture.probability,
        "stable": {"version": picture.stable, "label": picture.live_label},
        "candidate": {"version": picture.candidate, "label": picture.label},
        "review": {
            "answer": picture.review.answer,
            "at_ms": picture.review.at_ms,
            "actor": picture.review.actor,
            "reason": picture.review.reason,
        },
    }
