"""Feedback is rare and came by hand: it is in the store or on disk before its sender is thanked."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import secrets

from serve_app.domain import Feedback
from serve_app.recording.batch import Batch
from serve_app.recording.delivery import Deliver, attempt
from serve_app.recording.spool import Spool

logger = logging.getLogger(__name__)


class FeedbackSink:
    """Takes the feedback that one ingress process hears, in one event loop.

    Its batches bear a name of the desk's own: it gives out no numbers, and the store counts
    nothing for it.
    """

    def __init__(
        self, deliver: Deliver, spool: Spool, *, timeout_s: float = 2.0, pause_s: float = 2.0
    ) -> None:
        """Nothing is delivered yet.

        Args:
            timeout_s: For a delivery; what takes longer goes to the spool.
            pause_s: After a failure everything goes straight to the spool for so long. Then one
                delivery is tried, and the others wait for it no more than for the first.
        """
        self._deliver = deliver
        self._spool = spool
        self._timeout_s = timeout_s
        self._pause_s = pause_s

        self._writer = secrets.token_hex(6)
        self._failing = False
        self._spooling_until_s = 0.0  # in the loop's time
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, feedback: Feedback) -> None:
        """Return once it is stored or in the spool; it gets there also if the caller is cancelled.

        Raises:
            OSError: Neither took it.
        """
        # A context of its own: Serve cancels what a request started when its client hangs up.
        task = asyncio.get_running_loop().create_task(
            self._keep(Batch(self._writer, feedback=(feedback,))), context=contextvars.Context()
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def close(self) -> None:
        """Wait for what cancelled callers left under way."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _keep(self, batch: Batch) -> None:
        if await self._is_delivered(batch):
            return
        try:
            await asyncio.to_thread(self._spool.write, batch)
        except OSError as exc:  # the caller, who would tell of it, may be gone
            logger.error("feedback.lost", exc_info=exc)
            raise

    async def _is_delivered(self, batch: Batch) -> bool:
        loop = asyncio.get_running_loop()
        if loop.time() < self._spooling_until_s:
            return False
        if self._failing:
            self._spooling_until_s = loop.time() + self._timeout_s
        failure = await attempt(self._deliver, batch, self._timeout_s)
        if failure and not self._failing:
            logger.warning("feedback.spooling", exc_info=failure)
        elif self._failing and not failure:
            logger.info("feedback.resumed")
        self._failing = failure is not None
        self._spooling_until_s = loop.time() + self._pause_s if failure else 0.0
        return not self._failing
