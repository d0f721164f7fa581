"""What the console and the controller do for reviews, in this process, over a store on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from serve_app import reviewing
from serve_app.clock import now_ms
from serve_app.domain import KeptPicture
from serve_app.idempotency import Once
from serve_app.recording.batch import Batch
from serve_app.seal import Seal
from serve_app.store.store import open_store
from tests.unit.recording.fakes import kept

KEY = bytes(range(32))
JPEG = b"\xff\xd8\xff\xe0 a koala \xff\xd9"
SAID = {1: ("dog", "koala"), 2: ("cat", "koala"), 3: ("cat", "cat"), 4: ("dog", "cat")}


class Reviews:
    """Implements `serve_app.http.disagreements.Reviews`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.db"
        self.seal = Seal(KEY)
        self.store = open_store(f"sqlite:///{self.path}")
        self._desk = reviewing.ReviewDesk(f"sqlite:///{self.path}", self.seal)
        self._once = Once(self.store, _at_once)

    def keep(self, *numbers: int, **changes: Any) -> list[str]:
        """Pictures of which the versions said what `SAID` says; their ids."""
        pictures = [self._kept(number, **changes) for number in numbers]
        self.store.record(Batch(pictures[0].writer, kept=tuple(pictures)))
        return [f"{picture.writer}-{picture.sequence}" for picture in pictures]

    def close(self) -> None:
        """Close the connections."""
        self.store.close()
        self._desk.close()

    async def disagreements(self, limit: int, reviewed: bool) -> dict[str, Any]:
        return self._desk.disagreements(limit, reviewed)

    async def disagreement(self, picture_id: str) -> dict[str, Any]:
        return self._desk.disagreement(picture_id)

    async def picture(self, picture_id: str) -> bytes:
        return self._desk.picture(picture_id)

    async def review(
        self, picture_id: str, answer: str, actor: str, reason: str, key: str | None
    ) -> dict[str, Any]:
        async def change() -> int:
            return reviewing.review(self.store, picture_id, answer, actor, reason, now_ms())

        if key is None:
            await change()
        else:
            await self._once.make(key, ["review", picture_id, answer, actor, reason], change)
        return await self.disagreement(picture_id)

    def _kept(self, number: int, **changes: Any) -> KeptPicture:
        live_label, label = SAID[number]
        facts = {
            "at_ms": now_ms(),
            "expires_at_ms": now_ms() + 60_000,
            "digest": self.seal.digest(str(number).encode()),
            "live_label": live_label,
            "label": label,
            "sealed": self.seal.seal(JPEG),
        }
        return kept(number, **facts | changes)


async def _at_once(act: Callable[..., Any], *args: Any) -> Any:
    return act(*args)
