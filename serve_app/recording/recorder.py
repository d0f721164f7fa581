"""Records exposures, shadow pairs and kept images off the request path.

`record`, `record_pair` and `record_kept` only append to a buffer. A background task delivers
batches one after another and retries each until it is stored. The store identifies an entry by its
writer and sequence number, so it ignores a batch that arrives twice. Everything here runs in one
event loop.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import Any

from serve_app.recording.batch import Adoption, Batch
from serve_app.recording.buffer import Buffer
from serve_app.recording.delivery import Deliver, try_deliver
from serve_app.recording.records import Exposure, KeptImage, ShadowPair
from serve_app.recording.spool import Spool

logger = logging.getLogger(__name__)

MAX_PAUSE_S = 5.0  # between two attempts
MAX_KEPT, MAX_KEPT_PER_BATCH = 64, 16  # images that wait; images in a batch


class Recorder:
    """The buffers of one ingress process.

    Attributes:
        writer: 12 hex digits that identify the process in the store.
        pairs, kept: The buffers of shadow pairs and of kept images, with their counts. The counts
            of this class are those of exposures.
    """

    def __init__(
        self,
        deliver: Deliver,
        spool: Spool,
        *,
        capacity: int = 20_000,
        batch_size: int = 500,
        interval_s: float = 0.5,
        timeout_s: float = 5.0,
    ) -> None:
        """
        Args:
            capacity: Of the buffers of exposures and of pairs, without the batch in flight.
            batch_size: The most exposures, and the most pairs, in a batch; a full batch is
                delivered at once.
            interval_s: The longest wait of a smaller batch; also the pause after the first failed
                attempt, which doubles up to `MAX_PAUSE_S`.
            timeout_s: Of one attempt.
        """
        self.writer = secrets.token_hex(6)
        self.pairs: Buffer[ShadowPair] = Buffer(capacity)
        self.kept: Buffer[KeptImage] = Buffer(MAX_KEPT)
        self._exposures: Buffer[Exposure] = Buffer(capacity)
        self._deliver = deliver
        self._spool = spool
        self._batch_size = batch_size
        self._interval_s = interval_s
        self._timeout_s = timeout_s

        self._adoptions: list[Adoption] = []
        self._batch_is_full = asyncio.Event()
        self._in_flight: Batch | None = None
        self._is_failing = False
        self._task: asyncio.Task[None] | None = None

        self._sequence = 0

    @property
    def recorded(self) -> int:
        """All exposures so far; each is delivered, dropped, spooled or waiting."""
        return self._exposures.recorded

    @property
    def delivered(self) -> int:
        """Exposures in the store."""
        return self._exposures.delivered

    @property
    def dropped(self) -> int:
        """Exposures lost because the buffer was full."""
        return self._exposures.dropped

    @property
    def spooled(self) -> int:
        """Exposures that `close` wrote to the spool."""
        return self._exposures.spooled

    @property
    def waiting(self) -> int:
        """Exposures in the buffer and in flight."""
        return self._exposures.waiting

    def next_sequence(self) -> int:
        """The number of the next exposure, from 1; the store counts an unused number as missing."""
        self._sequence += 1
        return self._sequence

    def record(self, exposure: Exposure) -> None:
        """Buffer an exposure, or drop it if the buffer is full. Never waits, never raises."""
        self._exposures.add(exposure)
        if self._has_full_batch():
            self._batch_is_full.set()

    def record_pair(self, pair: ShadowPair) -> None:
        """Buffer a shadow pair, as `record` does."""
        self.pairs.add(pair)
        if self._has_full_batch():
            self._batch_is_full.set()

    def record_kept(self, image: KeptImage) -> None:
        """Buffer a kept image, as `record` does; it is delivered after the interval."""
        self.kept.add(image)

    def record_adoption(self, rule_id: str, rule: str, at_ms: int) -> None:
        """Record that the next exposures are under this rule; see `Adoption`. Never dropped."""
        self._adoptions.append(Adoption(at_ms, rule_id, rule))

    def start(self) -> None:
        """Start the deliveries; requires a running event loop."""
        self._task = asyncio.create_task(self._run(), name="recorder")

    async def close(self, timeout_s: float) -> None:
        """Deliver all entries; those that are not stored in time go to the spool.

        To be called after the last request: entries that are recorded later are dropped.

        Raises:
            OSError: The spool cannot be written.
        """
        try:
            async with asyncio.timeout(timeout_s):
                if self._task:
                    self._task.cancel()
                    await asyncio.wait([self._task])
                while batch := self._next_batch():
                    await self._deliver_with_retries(batch)
        except TimeoutError:
            logger.warning("recording.spooled", extra=self._log_fields())
        finally:
            for buffer in self._buffers:
                buffer.close()
            while batch := self._next_batch():
                self._spool.write(batch)
                for buffer in self._buffers:
                    buffer.mark_spooled()
                self._in_flight = None

    @property
    def _buffers(self) -> tuple[Buffer[Any], ...]:
        return self._exposures, self.pairs, self.kept

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._batch_is_full.wait()
            if batch := self._next_batch():
                await self._deliver_with_retries(batch)

    def _next_batch(self) -> Batch | None:
        """The batch in flight, or a new one; None if the buffers are empty."""
        if self._in_flight is None and (self._adoptions or any(map(len, self._buffers))):
            self._in_flight = Batch(
                self.writer,
                adoptions=tuple(self._adoptions),
                exposures=self._exposures.take(self._batch_size),
                pairs=self.pairs.take(self._batch_size),
                kept=self.kept.take(MAX_KEPT_PER_BATCH),
                last_sequence=self._sequence,
                dropped=self._exposures.dropped,
                dropped_pairs=self.pairs.dropped,
            )
            self._adoptions.clear()
            if not self._has_full_batch():
                self._batch_is_full.clear()
        return self._in_flight

    def _has_full_batch(self) -> bool:
        """Whether the exposures or the pairs fill a batch."""
        return max(len(self._exposures), len(self.pairs)) >= self._batch_size

    async def _deliver_with_retries(self, batch: Batch) -> None:
        pause_s = self._interval_s
        while not await self._deliver_once(batch):
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)
        self._in_flight = None
        for buffer in self._buffers:
            buffer.mark_delivered()

    async def _deliver_once(self, batch: Batch) -> bool:
        """Whether one attempt delivered the batch."""
        failure = await try_deliver(self._deliver, batch, self._timeout_s)
        self._log_result(failure)
        return failure is None

    def _log_result(self, failure: BaseException | None) -> None:
        """Log the first of several failures and the first success after them."""
        if failure and not self._is_failing:
            logger.warning("recording.stalled", exc_info=failure, extra=self._log_fields())
        elif self._is_failing and not failure:
            logger.info("recording.resumed", extra=self._log_fields())
        self._is_failing = failure is not None

    def _log_fields(self) -> dict[str, str | int]:
        return {
            "writer": self.writer,
            "waiting": self.waiting,
            "waiting_pairs": self.pairs.waiting,
        }
