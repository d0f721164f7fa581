"""Idempotency keys: a change that is requested again under its key is made once."""

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


class KeyStore(Protocol):
    """The store of idempotency keys; see `serve_app.store.store.Store`."""

    def claim_key(self, key: str, request_digest: str, at_ms: int) -> Claim | None: ...
    def settle_key(self, key: str, revision: int) -> None: ...
    def release_key(self, key: str) -> None: ...


class IdempotentChanges:
    """Makes one change per key.

    A change continues when its caller is cancelled; a later request with the key gets its result.
    The key of a failed change is released, so that the change can be retried under it.
    """

    def __init__(self, keys: KeyStore, in_writer: Callable[..., Awaitable[Any]]) -> None:
        """
        Args:
            in_writer: Calls a method of the store in the store's thread.
        """
        self._keys = keys
        self._in_writer = in_writer
        self._active_keys: set[str] = set()
        self._tasks: set[asyncio.Task[int]] = set()

    async def make(self, key: str, request: Any, change: Change) -> int:
        """Make a change; the revision of the change, or of the earlier one under the same key.

        Args:
            request: Identifies the change; JSON-serializable.

        Raises:
            KeyMismatch: The key was used for another change within 24 hours.
            KeyInUse: The change under the key has not finished.
        """
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        task = asyncio.create_task(self._make(key, digest, change))
        self._tasks.add(task)
        task.add_done_callback(self._finish)
        return await asyncio.shield(task)

    async def _make(self, key: str, digest: str, change: Change) -> int:
        claim = await self._in_writer(self._keys.claim_key, key, digest, now_ms())
        if claim is not None:
            return self._claimed_revision(key, digest, claim)
        self._active_keys.add(key)
        try:
            try:
                revision = await change()
            except Exception:
                await self._in_writer(self._keys.release_key, key)
                raise
            await self._in_writer(self._keys.settle_key, key, revision)
        finally:
            self._active_keys.discard(key)
        return revision

    def _claimed_revision(self, key: str, digest: str, claim: Claim) -> int:
        if claim.request_digest != digest:
            raise KeyMismatch(
                f"the Idempotency-Key {key} was used for another request in the last 24 hours:"
                " use a new key for each request"
            )
        if claim.revision is not None:
            return claim.revision
        if key in self._active_keys:
            raise KeyInUse(
                f"the first request with the Idempotency-Key {key} is in progress:"
                " try again in a second"
            )
        raise KeyInUse(
            f"the first request with the Idempotency-Key {key} was interrupted: check whether its"
            " change was made (GET /control/revisions, or the review); if not, use another key"
        )

    def _finish(self, task: asyncio.Task[int]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved: asyncio logs it otherwise
