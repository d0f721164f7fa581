"""Batches images that go to the same pool into one call: a call costs more than an image."""

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
class _Entry:
    pixels: Pixels
    response: asyncio.Future[PoolResponse]


class Batcher:
    """Sends queued requests in order, as soon as a call may start; it adds no waiting time.

    While `eager_calls` calls are in progress, requests queue up: a single client has no delay, and
    many clients share a call. A full batch starts another call, up to `max_calls`, so that load
    reaches every replica. A call that takes longer than `late_after_s` may never end, because its
    replica is frozen or lost. It no longer counts as an eager call, and it is cancelled once all of
    its requests are cancelled.
    """

    def __init__(
        self,
        call: Call,
        *,
        max_images: int = 12,
        eager_calls: int = 2,
        max_calls: int = 24,
        max_waiting: int = 256,
        late_after_s: float = LATE_S,
    ) -> None:
        self._call = call
        self._max_images = max_images
        self._eager_calls = eager_calls
        self._max_calls = max_calls
        self._max_waiting = max_waiting
        self._queue: deque[_Entry] = deque()
        self._late_after_s = late_after_s
        self._calls: dict[asyncio.Task[None], asyncio.TimerHandle] = {}
        self._late_calls: set[asyncio.Task[None]] = set()

    async def classify(self, pixels: Pixels) -> PoolResponse:
        """The response to uint8 [n, side, side, 3], all from one replica.

        Raises:
            Busy: The queue is full.
        """
        if len(self._queue) >= self._max_waiting:
            self._remove_cancelled()
        if len(self._queue) >= self._max_waiting:
            raise Busy(
                f"{len(self._queue)} requests wait for the same replicas: try again in a second"
            )
        entry = _Entry(pixels, asyncio.get_running_loop().create_future())
        self._queue.append(entry)
        self._start_calls()
        return await entry.response

    def _remove_cancelled(self) -> None:
        self._queue = deque(entry for entry in self._queue if not entry.response.done())

    def _start_calls(self) -> None:
        while self._can_start_call() and (batch := self._next_batch()):
            # An empty context: Serve cancels what runs in the context of a request when its client
            # disconnects, but a batch belongs to several clients. Serve's router also identifies
            # calls by the request id in the context, so it must not be shared by several calls.
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._run(batch), context=contextvars.Context())
            self._calls[task] = loop.call_later(self._late_after_s, self._mark_late, task, batch)
            task.add_done_callback(self._finish_call)

    def _can_start_call(self) -> bool:
        if len(self._calls) >= self._max_calls:
            return False
        timely_calls = len(self._calls) - len(self._late_calls)
        return timely_calls < self._eager_calls or len(self._queue) >= self._max_images

    def _next_batch(self) -> list[_Entry]:
        """The longest run of requests at the queue's head that fits one call."""
        batch: list[_Entry] = []
        images = 0
        while self._queue:
            head = self._queue[0]
            if not head.response.done():  # not cancelled
                images += len(head.pixels)
                if batch and (
                    images > self._max_images or head.pixels.shape[1:] != batch[0].pixels.shape[1:]
                ):
                    break
                batch.append(head)
            self._queue.popleft()
        return batch

    def _mark_late(self, task: asyncio.Task[None], batch: list[_Entry]) -> None:
        def cancel_if_abandoned(_: object) -> None:
            if all(entry.response.done() for entry in batch):
                task.cancel()

        self._late_calls.add(task)
        for entry in batch:
            entry.response.add_done_callback(cancel_if_abandoned)
        self._start_calls()

    def _finish_call(self, task: asyncio.Task[None]) -> None:
        self._calls.pop(task).cancel()
        self._late_calls.discard(task)
        self._start_calls()

    async def _run(self, batch: list[_Entry]) -> None:
        try:
            pixels = (
                batch[0].pixels
                if len(batch) == 1
                else np.concatenate([entry.pixels for entry in batch])
            )
            response = await self._call(pixels)
        except asyncio.CancelledError:  # Serve cancels a call whose replica stops
            _fail(batch, NotReady("the call was cancelled: try again in a second"))
            raise
        except Exception as exc:  # noqa: BLE001 every request of the batch raises it
            _fail(batch, exc)
            return
        start = 0
        for entry in batch:
            stop = start + len(entry.pixels)
            if not entry.response.done():
                entry.response.set_result(
                    response.slice(start, stop) if isinstance(response, Prediction) else response
                )
            start = stop


def _fail(batch: list[_Entry], exc: Exception) -> None:
    for entry in batch:
        if not entry.response.done():
            entry.response.set_exception(exc)
