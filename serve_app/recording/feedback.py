"""Durable feedback: it is in the store or in the spool before the client gets the response."""

from __future__ import annotations

import asyncio
import logging
import secrets

from serve_app.recording.batch import Batch
from serve_app.recording.delivery import Deliver, try_deliver
from serve_app.recording.records import Feedback
from serve_app.recording.spool import Spool
from serve_app.tasks import DetachedTasks

logger = logging.getLogger(__name__)


class FeedbackSink:
    """Takes the feedback of one ingress process, in one event loop.

    Its batches have a writer id different from the recorder's: the sink assigns no sequence
    numbers, so the store must not count missing ones.
    """

    def __init__(
        self, deliver: Deliver, spool: Spool, *, timeout_s: float = 2.0, pause_s: float = 2.0
    ) -> None:
        """
        Args:
            timeout_s: Of a delivery; after it, the feedback goes to the spool.
            pause_s: How long feedback goes straight to the spool after a failed delivery. Then one
                delivery is tried; meanwhile, other feedback goes to the spool.
        """
        self._deliver = deliver
        self._spool = spool
        self._timeout_s = timeout_s
        self._pause_s = pause_s

        self._writer = secrets.token_hex(6)
        self._is_failing = False
        self._spools_until_s = 0.0  # in the loop's time
        self._tasks = DetachedTasks()

    async def accept(self, feedback: Feedback) -> None:
        """Store or spool feedback, even if the caller is cancelled meanwhile.

        Raises:
            OSError: The store and the spool both failed.
        """
        await self._tasks.run(self._store_or_spool(Batch(self._writer, feedback=(feedback,))))

    async def close(self) -> None:
        """Wait for the feedback of cancelled callers."""
        await self._tasks.wait()

    async def _store_or_spool(self, batch: Batch) -> None:
        if await self._store(batch):
            return
        try:
            await asyncio.to_thread(self._spool.write, batch)
        except OSError as exc:  # logged here too: the caller may be cancelled
            logger.error("feedback.lost", exc_info=exc)
            raise

    async def _store(self, batch: Batch) -> bool:
        """Whether the batch was delivered; it is not tried during a pause."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._spools_until_s:
            return False
        if self._is_failing:
            self._spools_until_s = loop.time() + self._timeout_s
        failure = await try_deliver(self._deliver, batch, self._timeout_s)
        if failure and not self._is_failing:
            logger.warning("feedback.spooled", exc_info=failure)
        elif self._is_failing and not failure:
            logger.info("feedback.resumed")
        self._is_failing = failure is not None
        self._spools_until_s = loop.time() + self._pause_s if failure else 0.0
        return not self._is_failing
