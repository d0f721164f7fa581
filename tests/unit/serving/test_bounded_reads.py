from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from serve_app.errors import Busy, NotReady, TooSlow
from serve_app.serving.bounded_reads import BoundedReads
from serve_app.store.errors import StoreError


@pytest.fixture
def answer() -> Iterator[threading.Event]:
    """Set when the database answers; a failing test leaves no thread that waits."""
    event = threading.Event()
    yield event
    event.set()


def test_what_is_read_comes_back() -> None:
    reads = BoundedReads(threads=1, most=1, timeout_s=10)
    assert asyncio.run(reads.read(divmod, 7, 2)) == (3, 1)
    assert asyncio.run(reads.read(divmod, 8, 2)) == (4, 0)


def test_what_takes_too_long_is_given_up(answer: threading.Event) -> None:
    reads = BoundedReads(threads=1, most=1, timeout_s=0.01)
    with pytest.raises(TooSlow, match=r"did not answer within 0\.01 s"):
        asyncio.run(reads.read(answer.wait))


def test_what_was_given_up_counts_until_it_ends(answer: threading.Event) -> None:
    async def scenario() -> None:
        reads = BoundedReads(threads=1, most=1, timeout_s=0.01)
        with pytest.raises(TooSlow):
            await reads.read(answer.wait)
        with pytest.raises(Busy, match="1 reads of the store are under way"):
            await reads.read(abs, -1)
        answer.set()
        assert await patient(reads) == 1

    asyncio.run(scenario())


def test_what_was_given_up_before_it_began_never_begins(answer: threading.Event) -> None:
    async def scenario() -> None:
        reads = BoundedReads(threads=1, most=2, timeout_s=0.01)
        begun: list[str] = []
        with pytest.raises(TooSlow):
            await reads.read(answer.wait)
        with pytest.raises(TooSlow):
            await reads.read(begun.append, "late")
        answer.set()
        assert await patient(reads) == 1
        assert begun == []

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["given up", "cancelled"])
def test_what_is_made_when_nobody_waits_any_more_is_discarded(
    answer: threading.Event, how: str
) -> None:
    discarded: list[bool] = []
    begun = threading.Event()

    def make() -> bool:
        begun.set()
        return answer.wait()

    async def scenario() -> None:
        reads = BoundedReads(threads=1, most=1, timeout_s=0.1 if how == "given up" else 10)
        reading = asyncio.create_task(reads.read(make, discard=discarded.append))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        if how == "cancelled":
            reading.cancel()
        with pytest.raises(TooSlow if how == "given up" else asyncio.CancelledError):
            await reading
        assert discarded == []
        answer.set()
        assert await patient(reads) == 1
        assert discarded == [True]

    asyncio.run(scenario())


def test_what_was_waited_for_is_not_discarded() -> None:
    discarded: list[int] = []
    reads = BoundedReads(threads=1, most=1, timeout_s=10)
    assert asyncio.run(reads.read(abs, -1, discard=discarded.append)) == 1
    assert discarded == []


def test_a_store_that_fails_is_not_ready() -> None:
    def fail() -> None:
        raise StoreError("the database cannot be used")

    reads = BoundedReads(threads=1, most=1, timeout_s=10)
    with pytest.raises(NotReady, match="the database cannot be used"):
        asyncio.run(reads.read(fail))


async def patient(reads: BoundedReads) -> int:
    """A read that is taken once there is room."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await reads.read(abs, -1)
            except (Busy, TooSlow):
                await asyncio.sleep(0.001)
