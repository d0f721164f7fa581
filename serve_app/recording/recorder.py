"""Carries exposures off the answer's path.

`record` only appends to a buffer. A background task makes batches and delivers them one after the
other, each until it is taken: the store knows an exposure by its writer and number, so a batch
that arrives twice does no harm. Everything here runs in one event loop.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from serve_app.domain import Exposure
from serve_app.recording.batch import Adoption, Batch
from serve_app.recording.spool import Spool

logger = logging.getLogger(__name__)

LONGEST_PAUSE_S = 5.0  # between two attempts


class Recorder:
    """The buffer of one ingress process.

    Attributes:
        writer: 12 hex digits that name this process in the store.
    """

    def __init__(
        self,
        deliver: Callable[[Batch], Awaitable[None]],
        spool: Spool,
        *,
        capacity: int = 20_000,
        batch_size: int = 500,
        interval_s: float = 0.5,
        timeout_s: float = 5.0,
    ) -> None:
        """Nothing is delivered before `start`.

        Args:
            deliver: Takes a batch to the store; returns when it is stored.
            capacity: How many exposures may wait, besides those of the batch on its way.
            batch_size: The most exposures in a batch; as many waiting are delivered at once.
            interval_s: The longest that fewer wait; also the pause after a first failure, which
                doubles up to `LONGEST_PAUSE_S`.
            timeout_s: For each delivery.
        """
        self.writer = secrets.token_hex(6)
        self._deliver = deliver
        self._spool = spool
        self._capacity = capacity
        self._batch_size = batch_size
        self._interval_s = interval_s
        self._timeout_s = timeout_s

        self._adoptions: list[Adoption] = []
        self._exposures: deque[Exposure] = deque()
        self._enough = asyncio.Event()  # a full batch waits
        self._on_its_way: Batch | None = None
        self._failing = False
        self._task: asyncio.Task[None] | None = None

        self._sequence = 0
        self._recorded = 0
        self._delivered = 0
        self._dropped = 0
        self._spooled = 0

    @property
    def recorded(self) -> int:
        """Exposures so far: each is delivered, dropped, spooled or waiting."""
        return self._recorded

    @property
    def delivered(self) -> int:
        """Exposures that the store has."""
        return self._delivered

    @property
    def dropped(self) -> int:
        """Exposures lost because the buffer was full."""
        return self._dropped

    @property
    def spooled(self) -> int:
        """Exposures that `close` left in the spool."""
        return self._spooled

    @property
    def waiting(self) -> int:
        """Exposures in the buffer and on their way."""
        on_its_way = len(self._on_its_way.exposures) if self._on_its_way else 0
        return len(self._exposures) + on_its_way

    def next_sequence(self) -> int:
        """The number of the next exposure, from 1; a number that is never recorded is a loss."""
        self._sequence += 1
        return self._sequence

    def record(self, exposure: Exposure) -> None:
        """Take an exposure; a full buffer drops it. Never waits, never raises."""
        self._recorded += 1
        waiting = len(self._exposures)
        if waiting >= self._capacity:
            self._dropped += 1
            return
        self._exposures.append(exposure)
        if waiting + 1 >= self._batch_size:
            self._enough.set()

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
            self._capacity = 0
            while batch := self._next():
                self._spool.write(batch)
                self._spooled += len(batch.exposures)
                self._on_its_way = None

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._enough.wait()
            if batch := self._next():
                await self._until_taken(batch)

    def _next(self) -> Batch | None:
        """The batch on its way, or a new one; None if nothing waits."""
        if self._on_its_way is None and (self._adoptions or self._exposures):
            size = min(len(self._exposures), self._batch_size)
            self._on_its_way = Batch(
                self.writer,
                tuple(self._adoptions),
                tuple(self._exposures.popleft() for _ in range(size)),
                self._sequence,
                self._dropped,
            )
            self._adoptions.clear()
            if len(self._exposures) < self._batch_size:
                self._enough.clear()
        return self._on_its_way

    async def _until_taken(self, batch: Batch) -> None:
        pause_s = self._interval_s
        while not await self._taken(batch):
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._on_its_way = None
        self._delivered += len(batch.exposures)

    async def _taken(self, batch: Batch) -> bool:
        """Whether one attempt brought the batch to the store."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._deliver(batch)
        except (Exception, asyncio.CancelledError) as exc:
            # A remote call that the other side cancelled raises CancelledError as well; only
            # when this task is cancelled may it end.
            task = asyncio.current_task()
            if task and task.cancelling():
                raise asyncio.CancelledError from exc
            self._note(failure=exc)
            return False
        self._note(failure=None)
        return True

    def _note(self, failure: BaseException | None) -> None:
        """Log the first failure and the end of it."""
        if failure and not self._failing:
            logger.warning("recording.stalled", exc_info=failure, extra=self._facts())
        elif self._failing and not failure:
            logger.info("recording.resumed", extra=self._facts())
        self._failing = failure is not None

    def _facts(self) -> dict[str, str | int]:
        return {"writer": self.writer, "waiting": self.waiting}
