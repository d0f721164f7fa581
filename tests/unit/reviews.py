"""What the console and the controller do for reviews, in this process, over a store on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from serve_app import review_service
from serve_app.clock import now_ms
from serve_app.domain import KeptImage
from serve_app.idempotency import Once
from serve_app.privacy.image_cipher import ImageCipher
from serve_app.recording.batch import Batch
from serve_app.store.store import open_store
from tests.unit.recording.fakes import kept

KEY = bytes(range(32))
JPEG = b"\xff\xd8\xff\xe0 a koala \xff\xd9"
SAID = {1: ("dog", "koala"), 2: ("cat", "koala"), 3: ("cat", "cat"), 4: ("dog", "cat")}


class Reviews:
    """Implements `serve_app.http.reviews.Reviews`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.db"
        self.image_cipher = ImageCipher(KEY)
        self.store = open_store(f"sqlite:///{self.path}")
        self._desk = review_service.ReviewService(f"sqlite:///{self.path}", self.image_cipher)
        self._once = Once(self.store, _at_once)

    def keep(self, *numbers: int, **changes: Any) -> list[str]:
        """Images of which the versions said what `SAID` says; their ids."""
        images = [self._kept(number, **changes) for number in numbers]
        self.store.record(Batch(images[0].writer, kept=tuple(images)))
        return [f"{image.writer}-{image.sequence}" for image in images]

    def close(self) -> None:
        """Close the connections."""
        self.store.close()
        self._desk.close()

    async def disagreements(self, limit: int, reviewed: bool) -> dict[str, Any]:
        return self._desk.disagreements(limit, reviewed)

    async def disagreement(self, image_id: str) -> dict[str, Any]:
        return self._desk.disagreement(image_id)

    async def image(self, image_id: str) -> bytes:
        return self._desk.image(image_id)

    async def review(
        self, image_id: str, answer: str, actor: str, reason: str, key: str | None
    ) -> dict[str, Any]:
        async def change() -> int:
            return review_service.review(self.store, image_id, answer, actor, reason, now_ms())

        if key is None:
            await change()
        else:
            await self._once.make(key, ["review", image_id, answer, actor, reason], change)
        return await self.disagreement(image_id)

    def _kept(self, number: int, **changes: Any) -> KeptImage:
        live_label, label = SAID[number]
        facts = {
            "at_ms": now_ms(),
            "expires_at_ms": now_ms() + 60_000,
            "digest": self.image_cipher.digest(str(number).encode()),
            "live_label": live_label,
            "label": label,
            "encrypted": self.image_cipher.encrypt(JPEG),
        }
        return kept(number, **facts | changes)


async def _at_once(act: Callable[..., Any], *args: Any) -> Any:
    return act(*args)
