"""Carries exposures, shadow pairs and kept images off the answer's path.

`record`, `record_pair` and `record_kept` only append to a buffer. A background task makes batches
and delivers them one after the other, each until it is taken: the store knows an entry by its
writer and number, so a batch that arrives twice does no harm. Everything here runs in one event
loop.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import Any

from serve_app.domain import Exposure, KeptImage, ShadowPair
from serve_app.recording.batch import Adoption, Batch
from serve_app.recording.buffer import Buffer
from serve_app.recording.delivery import Deliver, attempt
from serve_app.recording.spool import Spool

logger = logging.getLogger(__name__)

LONGEST_PAUSE_S = 5.0  # between two attempts
MAX_KEPT, KEPT_AT_ONCE = 64, 16  # images that may wait, and that a batch has at most


class Recorder:
    """The buffers of one ingress process.

    Attributes:
        writer: 12 hex digits that name this process in the store.
        pairs, kept: What the counts of this class tell of exposures, they tell of shadow pairs
            and of kept images.
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
        """Nothing is delivered before `start`.

        Args:
            capacity: How many exposures, and as many pairs, may wait, besides those of the batch
                on its way.
            batch_size: The most exposures in a batch, and the most pairs; as many of either that
                wait are delivered at once.
            interval_s: The longest that fewer wait; also the pause after a first failure, which
                doubles up to `LONGEST_PAUSE_S`.
            timeout_s: For each delivery.
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
        self._enough = asyncio.Event()  # a full batch waits
        self._on_its_way: Batch | None = None
        self._failing = False
        self._task: asyncio.Task[None] | None = None

        self._sequence = 0

    @property
    def recorded(self) -> int:
        """Exposures so far: each is delivered, dropped, spooled or waiting."""
        return self._exposures.recorded

    @property
    def delivered(self) -> int:
        """Exposures that the store has."""
        return self._exposures.delivered

    @property
    def dropped(self) -> int:
        """Exposures lost because the buffer was full."""
        return self._exposures.dropped

    @property
    def spooled(self) -> int:
        """Exposures that `close` left in the spool."""
        return self._exposures.spooled

    @property
    def waiting(self) -> int:
        """Exposures in the buffer and on their way."""
        return self._exposures.waiting

    def next_sequence(self) -> int:
        """The number of the next exposure, from 1; a number that is never recorded is a loss."""
        self._sequence += 1
        return self._sequence

    def record(self, exposure: Exposure) -> None:
        """Take an exposure; a full buffer drops it. Never waits, never raises."""
        self._exposures.add(exposure)
        if self._is_enough():
            self._enough.set()

    def record_pair(self, pair: ShadowPair) -> None:
        """Take a shadow pair, as `record` takes an exposure."""
        self.pairs.add(pair)
        if self._is_enough():
            self._enough.set()

    def record_kept(self, image: KeptImage) -> None:
        """Take an image, as `record` takes an exposure; it may wait for the interval."""
        self.kept.add(image)

    def adopted(self, rule_id: str, rule: str, at_ms: int) -> None:
        """Exposures from now on come from this rule; see `Adoption`. Never dropped."""
        self._adoptions.append(Adoption(at_ms, rule_id, rule))

    def start(self) -> None:
        """Begin to deliver; an event loop must run."""
        self._task = asyncio.create_task(self._run(), name="recorder")

    async def close(self, timeout_s: float) -> None:
        """Deliver what waits; what the store has not taken in time goes to the spool.

        To be called after the last answer: what is recorded later is dropped.

        Raises:
            OSError: The spool cannot be written.
        """
        try:
            async with asyncio.timeout(timeout_s):
                if self._task:
                    self._task.cancel()
                    await asyncio.wait([self._task])
                while batch := self._next():
                    await self._until_taken(batch)
        except TimeoutError:
            logger.warning("recording.spooled", extra=self._facts())
        finally:
            for buffer in self._buffers:
                buffer.close()
            while batch := self._next():
                self._spool.write(batch)
                for buffer in self._buffers:
                    buffer.note_spooled()
                self._on_its_way = None

    @property
    def _buffers(self) -> tuple[Buffer[Any], ...]:
        return self._exposures, self.pairs, self.kept

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._enough.wait()
            if batch := self._next():
                await self._until_taken(batch)

    def _next(self) -> Batch | None:
        """The batch on its way, or a new one; None if nothing waits."""
        if self._on_its_way is None and (self._adoptions or any(map(len, self._buffers))):
            self._on_its_way = Batch(
                self.writer,
                adoptions=tuple(self._adoptions),
                exposures=self._exposures.send(self._batch_size),
                pairs=self.pairs.send(self._batch_size),
                kept=self.kept.send(KEPT_AT_ONCE),
                last_sequence=self._sequence,
                dropped=self._exposures.dropped,
                dropped_pairs=self.pairs.dropped,
            )
            self._adoptions.clear()
            if not self._is_enough():
                self._enough.clear()
        return self._on_its_way

    def _is_enough(self) -> bool:
        """Whether a full batch waits, of exposures or of pairs."""
        return max(len(self._exposures), len(self.pairs)) >= self._batch_size

    async def _until_taken(self, batch: Batch) -> None:
        pause_s = self._interval_s
        while not await self._taken(batch):
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._on_its_way = None
        for buffer in self._buffers:
            buffer.note_delivered()

    async def _taken(self, batch: Batch) -> bool:
        """Whether one attempt brought the batch to the store."""
        failure = await attempt(self._deliver, batch, self._timeout_s)
        self._note(failure)
        return failure is None

    def _note(self, failure: BaseException | None) -> None:
        """Log the first failure and the end of it."""
        if failure and not self._failing:
            logger.warning("recording.stalled", exc_info=failure, extra=self._facts())
        elif self._failing and not failure:
            logger.info("recording.resumed", extra=self._facts())
        self._failing = failure is not None

    def _facts(self) -> dict[str, str | int]:
        return {
            "writer": self.writer,
            "waiting": self.waiting,
            "waiting_pairs": self.pairs.waiting,
        }
