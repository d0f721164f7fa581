"""What is asked for twice under one key is done once."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from serve_app.clock import now_ms
from serve_app.errors import KeyInUse, KeyMismatch
from serve_app.store.idempotency import Claim

Change = Callable[[], Coroutine[Any, Any, int]]


class Keys(Protocol):
    """What the store knows of keys; see `serve_app.store.store.Store`."""

    def claim_key(self, key: str, request: str, at_ms: int) -> Claim | None: ...
    def settle_key(self, key: str, revision: int) -> None: ...
    def release_key(self, key: str) -> None: ...


class Once:
    """Makes a change once for each key.

    A change goes on when nobody waits for it any more: who asks again hears what came of it. One
    that failed is forgotten, and may be tried again under its key.
    """

    def __init__(self, keys: Keys, in_writer: Callable[..., Awaitable[Any]]) -> None:
        """
        Args:
            in_writer: Calls a method of the store in its thread.
        """
        self._keys = keys
        self._in_writer = in_writer
        self._under_way: set[str] = set()
        self._tasks: set[asyncio.Task[int]] = set()

    async def make(self, key: str, asked: Any, change: Change) -> int:
        """The revision that a change makes, or made when it was first asked for.

        Args:
            asked: What the change is, as JSON can say it.

        Raises:
            KeyMismatch: The key came with another change within the last day.
            KeyInUse: The change that it came with has not ended.
        """
        request = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        task = asyncio.create_task(self._make(key, request, change))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def _make(self, key: str, request: str, change: Change) -> int:
        claim = await self._in_writer(self._keys.claim_key, key, request, now_ms())
        if claim is not None:
            return self._told(key, request, claim)
        self._under_way.add(key)
        try:
            try:
                revision = await change()
            except Exception:
                await self._in_writer(self._keys.release_key, key)
                raise
            await self._in_writer(self._keys.settle_key, key, revision)
        finally:
            self._under_way.discard(key)
        return revision

    def _told(self, key: str, request: str, claim: Claim) -> int:
        if claim.request != request:
            raise KeyMismatch(
                f"the Idempotency-Key {key} came with another request in the last 24 hours:"
                " each request needs a key of its own"
            )
        if claim.revision is not None:
            return claim.revision
        if key in self._under_way:
            raise KeyInUse(
                f"the first request with the Idempotency-Key {key} is under way:"
                " ask again in a second"
            )
        raise KeyInUse(
            f"the first request with the Idempotency-Key {key} was interrupted: see whether what"
            " it asked for is there (GET /control/revisions, or the review); if not, use another"
            " key"
        )

    def _ended(self, task: asyncio.Task[int]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; asyncio would complain if nobody did
