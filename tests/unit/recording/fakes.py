"""A clock that does not wait, a store that fails when told to, and what they are fed with."""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from enum import StrEnum
from typing import Any, TypeVar, TypeVarTuple

from serve_app.domain import Exposure, Feedback, KeptImage, ShadowPair
from serve_app.recording.batch import Batch

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EXPOSURE = Exposure(
    writer="0123456789ab",
    sequence=1,
    at_ms=1_000,
    request_id="r-1",
    rule_id="9f31c0aa",
    rule="single",
    reason="static",
    assigned="v1",
    served="v1",
    user="c4" * 16,
    session=None,
    region="AU",
    label="cat",
    confidence=0.875,
    latency_ms=4.25,
    model_ms=2.5,
    error=None,
)

PAIR = ShadowPair(
    writer="0123456789ab",
    sequence=1,
    at_ms=1_250,
    rule_id="9f31c0aa",
    candidate="v2",
    outcome="copied",
    probability=0.5,
    label="dog",
    confidence=0.75,
    latency_ms=6.5,
    model_ms=3.25,
    error=None,
)

KEPT = KeptImage(
    writer="0123456789ab",
    sequence=1,
    at_ms=1_250,
    rule_id="9f31c0aa",
    region="AU",
    expires_at_ms=61_250,
    room=10,
    probability=0.5,
    digest="d1" * 32,
    stable="v1",
    live_label="cat",
    candidate="v2",
    label="koala",
    labels=("cat", "dog", "koala"),
    encrypted=b"gAAAAA-sealed",
)

FEEDBACK = Feedback(
    writer="0123456789ab",
    sequence=1,
    at_ms=61_000,
    answered_at_ms=1_000,
    rule_id="9f31c0aa",
    assigned="v1",
    answered="cat",
    label="dog",
    correct=False,
    rating=2,
    complaint=None,
)


class JumpingSelector(selectors.SelectSelector):
    """Never waits: the time jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everything waits for something that will never happen"
        self.now_s += max(timeout, 0.0)
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at 0 and takes no time."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds."""
        return self._jumping.now_s

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """What a thread makes of it, while the clock stands still."""
        with ThreadPoolExecutor(1) as pool:
            return asyncio.wrap_future(pool.submit(func, *args), loop=self)


def run(scenario: Coroutine[Any, Any, T]) -> T:
    """What a scenario returns, played without waiting."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(scenario)


async def until(condition: Callable[[], bool]) -> None:
    """Let time pass until something holds."""
    async with asyncio.timeout(3_600):
        while not condition():
            await asyncio.sleep(0.01)


class Fate(StrEnum):
    """What becomes of a delivery."""

    TAKEN = "taken"
    REJECTED = "rejected"
    HANGING = "hanging"
    CANCELLED = "cancelled"  # by the other side
    UNANSWERED = "unanswered"  # taken, and the answer is lost


class FakeStore:
    """Knows an entry by its writer and number, as the store does.

    Attributes:
        attempts: Every delivery: when, in seconds of the loop, and what.
        taken: The batches that were stored; one can be there twice.
    """

    def __init__(self, fates: Iterable[Fate] = (), afterwards: Fate = Fate.TAKEN) -> None:
        self.attempts: list[tuple[float, Batch]] = []
        self.taken: list[Batch] = []
        self._fates = deque(fates)
        self._afterwards = afterwards

    @property
    def sequences(self) -> list[int]:
        """The numbers of the exposures that are stored, each once."""
        return sorted({e.sequence for batch in self.taken for e in batch.exposures})

    @property
    def pair_sequences(self) -> list[int]:
        """The numbers of the shadow pairs that are stored, each once."""
        return sorted({p.sequence for batch in self.taken for p in batch.pairs})

    @property
    def feedback(self) -> list[Feedback]:
        """What was told, each once, by its time."""
        told = {f for batch in self.taken for f in batch.feedback}
        return sorted(told, key=lambda f: f.at_ms)

    def take(self, batch: Batch) -> None:
        """Store a batch."""
        self.taken.append(batch)

    async def deliver(self, batch: Batch) -> None:
        """One delivery, with the next fate."""
        self.attempts.append((asyncio.get_running_loop().time(), batch))
        fate = self._fates.popleft() if self._fates else self._afterwards
        match fate:
            case Fate.REJECTED:
                raise ConnectionError("the store is away")
            case Fate.CANCELLED:
                raise asyncio.CancelledError
            case Fate.HANGING:
                await asyncio.get_running_loop().create_future()
        self.take(batch)
        if fate is Fate.UNANSWERED:
            raise ConnectionError("the answer is lost")


def exposure(sequence: int, **changes: Any) -> Exposure:
    """An exposure with a number."""
    return replace(EXPOSURE, sequence=sequence, **changes)


def pair(sequence: int, **changes: Any) -> ShadowPair:
    """A shadow pair with a number."""
    return replace(PAIR, sequence=sequence, **changes)


def kept(sequence: int, **changes: Any) -> KeptImage:
    """A kept image with a number."""
    return replace(KEPT, sequence=sequence, **changes)


def feedback(at_ms: int, **changes: Any) -> Feedback:
    """Feedback that came at a time."""
    return replace(FEEDBACK, at_ms=at_ms, **changes)
