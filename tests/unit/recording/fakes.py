"""An event loop in virtual time, and a fake store."""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from enum import StrEnum
from typing import Any, TypeVar, TypeVarTuple

from serve_app.recording.batch import Batch
from serve_app.recording.records import Feedback

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class VirtualTimeSelector(selectors.SelectSelector):
    """A selector that never waits: the clock jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "deadlock: no timer is pending"
        self.now_s += max(timeout, 0.0)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time; its clock starts at 0."""

    def __init__(self) -> None:
        self._virtual_selector = VirtualTimeSelector()
        super().__init__(self._virtual_selector)

    def time(self) -> float:
        """Virtual seconds."""
        return self._virtual_selector.now_s

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run a function in a thread; the clock does not advance."""
        with ThreadPoolExecutor(1) as pool:
            return asyncio.wrap_future(pool.submit(func, *args), loop=self)


def run(scenario: Coroutine[Any, Any, T]) -> T:
    """Run a scenario in virtual time and return its result."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(scenario)


async def wait_until(condition: Callable[[], bool]) -> None:
    """Advance the virtual time until a condition holds."""
    async with asyncio.timeout(3_600):
        while not condition():
            await asyncio.sleep(0.01)


class DeliveryResult(StrEnum):
    """The result of a delivery."""

    STORED = "stored"
    REJECTED = "rejected"
    HANGING = "hanging"
    CANCELLED = "cancelled"  # by the other side
    RESPONSE_LOST = "response lost"  # stored, but the response is an error


class FakeStore:
    """A store whose deliveries have scripted results.

    Attributes:
        attempts: The time of every delivery, in seconds of the loop, and its batch.
        batches: The stored batches; a batch may be there twice.
    """

    def __init__(
        self,
        results: Iterable[DeliveryResult] = (),
        default_result: DeliveryResult = DeliveryResult.STORED,
    ) -> None:
        """
        Args:
            results: Of the first deliveries.
            default_result: Of all later deliveries.
        """
        self.attempts: list[tuple[float, Batch]] = []
        self.batches: list[Batch] = []
        self._results = deque(results)
        self._default_result = default_result

    @property
    def sequences(self) -> list[int]:
        """The sequence numbers of the stored exposures, without duplicates."""
        return sorted({e.sequence for batch in self.batches for e in batch.exposures})

    @property
    def pair_sequences(self) -> list[int]:
        """The sequence numbers of the stored shadow pairs, without duplicates."""
        return sorted({p.sequence for batch in self.batches for p in batch.pairs})

    @property
    def feedback(self) -> list[Feedback]:
        """The stored feedback without duplicates, sorted by time."""
        unique = {f for batch in self.batches for f in batch.feedback}
        return sorted(unique, key=lambda f: f.at_ms)

    def store(self, batch: Batch) -> None:
        """Store a batch."""
        self.batches.append(batch)

    async def deliver(self, batch: Batch) -> None:
        """Deliver a batch with the next result."""
        self.attempts.append((asyncio.get_running_loop().time(), batch))
        result = self._results.popleft() if self._results else self._default_result
        match result:
            case DeliveryResult.REJECTED:
                raise ConnectionError("the store is down")
            case DeliveryResult.CANCELLED:
                raise asyncio.CancelledError
            case DeliveryResult.HANGING:
                await asyncio.get_running_loop().create_future()
        self.store(batch)
        if result is DeliveryResult.RESPONSE_LOST:
            raise ConnectionError("the response is lost")
