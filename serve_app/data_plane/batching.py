"""Images that wait for the same replicas travel in one call: the hop costs more than they do."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from models.preprocess import Pixels
from serve_app.data_plane.pools import LATE_S, PoolResponse, Prediction
from serve_app.errors import Busy, NotReady

Call = Callable[[Pixels], Awaitable[PoolResponse]]


@dataclass(slots=True)
class _Waiting:
    pixels: Pixels
    reply: asyncio.Future[PoolResponse]


class Batcher:
    """Sends what waits, in order, as soon as a call may start; it never waits for company.

    While `eager_calls` calls are under way, what comes gathers, so that one client pays no delay
    and many share the hop; a full call starts beside them, so that load reaches every replica. A
    call that takes longer than `patience_s` may never end, for its replica is frozen or gone: then
    nobody waits for it any more but those whom it carries; and it ends when they have given up.
    """

    def __init__(
        self,
        call: Call,
        *,
        max_images: int = 12,
        eager_calls: int = 2,
        max_calls: int = 24,
        max_waiting: int = 256,
        patience_s: float = LATE_S,
    ) -> None:
        self._call = call
        self._max_images = max_images
        self._eager_calls = eager_calls
        self._max_calls = max_calls
        self._max_waiting = max_waiting
        self._queue: deque[_Waiting] = deque()
        self._patience_s = patience_s
        self._calls: dict[asyncio.Task[None], asyncio.TimerHandle] = {}
        self._late: set[asyncio.Task[None]] = set()

    async def classify(self, pixels: Pixels) -> PoolResponse:
        """PoolResponse to uint8 [n, side, side, 3], all by one replica.

        Raises:
            Busy: Too many requests wait already.
        """
        if len(self._queue) >= self._max_waiting:
            self._forget_the_gone()
        if len(self._queue) >= self._max_waiting:
            raise Busy(
                f"{len(self._queue)} requests wait for the same replicas: try again in a second"
            )
        waiting = _Waiting(pixels, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._start_calls()
        return await waiting.reply

    def _forget_the_gone(self) -> None:
        self._queue = deque(waiting for waiting in self._queue if not waiting.reply.done())

    def _start_calls(self) -> None:
        while self._may_call() and (batch := self._next_batch()):
            # A context of its own: Serve cancels what a request started when its client hangs
            # up, and this call is other clients' as well. And calls of one request would have
            # one id, by which Serve's router tells them apart.
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._run(batch), context=contextvars.Context())
            self._calls[task] = loop.call_later(self._patience_s, self._is_late, task, batch)
            task.add_done_callback(self._ended)

    def _may_call(self) -> bool:
        if len(self._calls) >= self._max_calls:
            return False
        in_time = len(self._calls) - len(self._late)
        return in_time < self._eager_calls or len(self._queue) >= self._max_images

    def _next_batch(self) -> list[_Waiting]:
        """The longest run of requests at the queue's head that fits one call."""
        batch: list[_Waiting] = []
        images = 0
        while self._queue:
            head = self._queue[0]
            if not head.reply.done():  # its client still waits
                images += len(head.pixels)
                if batch and (
                    images > self._max_images or head.pixels.shape[1:] != batch[0].pixels.shape[1:]
                ):
                    break
                batch.append(head)
            self._queue.popleft()
        return batch

    def _is_late(self, task: asyncio.Task[None], batch: list[_Waiting]) -> None:
        def given_up(_: object) -> None:
            if all(waiting.reply.done() for waiting in batch):
                task.cancel()

        self._late.add(task)
        for waiting in batch:
            waiting.reply.add_done_callback(given_up)
        self._start_calls()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._calls.pop(task).cancel()
        self._late.discard(task)
        self._start_calls()

    async def _run(self, batch: list[_Waiting]) -> None:
        try:
            pixels = (
                batch[0].pixels
                if len(batch) == 1
                else np.concatenate([waiting.pixels for waiting in batch])
            )
            reply = await self._call(pixels)
        except asyncio.CancelledError:  # Serve cancels a call whose replica goes away
            _fail(batch, NotReady("the call was cancelled: try again in a second"))
            raise
        except Exception as exc:  # noqa: BLE001 each waiting request gets it
            _fail(batch, exc)
            return
        start = 0
        for waiting in batch:
            stop = start + len(waiting.pixels)
            if not waiting.reply.done():
                waiting.reply.set_result(
                    reply.part(start, stop) if isinstance(reply, Prediction) else reply
                )
            start = stop


def _fail(batch: list[_Waiting], exc: Exception) -> None:
    for waiting in batch:
        if not waiting.reply.done():
            waiting.reply.set_exception(exc)
