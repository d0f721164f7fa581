"""The review operations of `ControlApi` and the Controller, in process, over a store on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from serve_app import review_service
from serve_app.clock import now_ms
from serve_app.domain import KeptImage
from serve_app.idempotency import IdempotentChanges
from serve_app.privacy.image_cipher import ImageCipher
from serve_app.recording.batch import Batch
from serve_app.store.store import open_store
from tests.unit.recording.fakes import kept_image

IMAGE_KEY = bytes(range(32))
JPEG = b"\xff\xd8\xff\xe0 a koala \xff\xd9"
PREDICTIONS = {1: ("dog", "koala"), 2: ("cat", "koala"), 3: ("cat", "cat"), 4: ("dog", "cat")}


class LocalReviews:
    """Implements `serve_app.http.reviews.Reviews`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.db"
        self.image_cipher = ImageCipher(IMAGE_KEY)
        self.store = open_store(f"sqlite:///{self.path}")
        self._service = review_service.ReviewService(f"sqlite:///{self.path}", self.image_cipher)
        self._idempotent_changes = IdempotentChanges(self.store, _call)

    def keep_images(self, *numbers: int, **changes: Any) -> list[str]:
        """Store images with the labels of `PREDICTIONS`; returns their ids."""
        images = [self._image(number, **changes) for number in numbers]
        self.store.record(Batch(images[0].writer, kept=tuple(images)))
        return [f"{image.writer}-{image.sequence}" for image in images]

    def close(self) -> None:
        """Close the connections to the store."""
        self.store.close()
        self._service.close()

    async def list_images(self, limit: int, reviewed: bool) -> dict[str, Any]:
        return self._service.list_images(limit, reviewed)

    async def find_image(self, image_id: str) -> dict[str, Any]:
        return self._service.find_image(image_id)

    async def image_content(self, image_id: str) -> bytes:
        return self._service.image_content(image_id)

    async def add_review(
        self, image_id: str, answer: str, actor: str, reason: str, key: str | None
    ) -> dict[str, Any]:
        async def change() -> int:
            return review_service.add_review(self.store, image_id, answer, actor, reason, now_ms())

        if key is None:
            await change()
        else:
            await self._idempotent_changes.make(
                key, ["add_review", image_id, answer, actor, reason], change
            )
        return await self.find_image(image_id)

    def _image(self, number: int, **changes: Any) -> KeptImage:
        stable_label, candidate_label = PREDICTIONS[number]
        fields = {
            "at_ms": now_ms(),
            "expires_at_ms": now_ms() + 60_000,
            "digest": self.image_cipher.digest(str(number).encode()),
            "live_label": stable_label,
            "label": candidate_label,
            "encrypted": self.image_cipher.encrypt(JPEG),
        }
        return kept_image(number, **fields | changes)


async def _call(act: Callable[..., Any], *args: Any) -> Any:
    return act(*args)
