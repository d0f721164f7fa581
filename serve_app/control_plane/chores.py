"""The chores of the control plane, once a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from serve_app.clock import now_ms
from serve_app.control_plane.plane import ControlPlane
from serve_app.recording.spool import Spool
from serve_app.store.retention import Retention
from serve_app.store.store import Store

INTERVAL_S = 1.0
PRUNE_INTERVAL_S = 60.0
EXPIRE_INTERVAL_S = 60.0

Chore = Callable[[], Awaitable[None]]

logger = logging.getLogger(__name__)


class Chores:
    """Runs all chores; a chore that fails is retried and stops no other."""

    def __init__(
        self,
        plane: ControlPlane,
        store: Store,
        spool: Spool,
        retention: Retention = Retention(),  # noqa: B008 frozen
        on_store_size: Callable[[int], None] = lambda _: None,
    ) -> None:
        """
        Args:
            on_store_size: Called with the size of the store in bytes, once a minute.
        """
        self._plane = plane
        self._store = store
        self._spool = spool
        self._retention = retention
        self._on_store_size = on_store_size
        self._next_prune_s = self._next_expiry_s = 0.0  # in the event loop's time
        self._chores: dict[str, Chore] = {
            "recover": plane.recover,
            "remove_expired_images": self._remove_expired_images,
            "record_outside_change": plane.record_outside_change,
            "record_convergence": plane.record_convergence,
            "drain_spool": self._drain_spool,
            "prune_rows": self._prune_rows,
        }

    async def run(self, after_each: Callable[[], None]) -> None:
        """Run the chores until cancelled.

        Args:
            after_each: Called after each round.
        """
        while True:
            await self.run_once()
            after_each()
            await asyncio.sleep(INTERVAL_S)

    async def run_once(self) -> None:
        """Run each chore once."""
        for name, chore in self._chores.items():
            try:
                await chore()
            except Exception:
                logger.exception("chore.failed", extra={"chore": name})

    async def _drain_spool(self) -> None:
        """Store the batches that ingresses wrote to the spool."""
        await self._plane.write(self._spool.drain, self._store.record)

    async def _prune_rows(self) -> None:
        """Remove old rows, one slice per call; pause for a minute when none is left."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._next_prune_s:
            return
        if not await self._plane.write(self._store.prune, now_ms(), self._retention):
            self._next_prune_s = now_s + PRUNE_INTERVAL_S
        size = await self._plane.write(self._store.used_bytes)
        if size is not None:
            self._on_store_size(size)

    async def _remove_expired_images(self) -> None:
        """Remove expired images, once a minute; they are not shown after their expiry."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._next_expiry_s:
            await self._plane.write(self._store.remove_expired, now_ms())
            self._next_expiry_s = now_s + EXPIRE_INTERVAL_S
