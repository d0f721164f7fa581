from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from serve_app.errors import Busy, NotReady, TooSlow
from serve_app.store.bounded_reads import BoundedReads
from serve_app.store.errors import StoreError


@pytest.fixture
def database_answers() -> Iterator[threading.Event]:
    """Set when the database answers; set at teardown, so that no thread keeps waiting."""
    event = threading.Event()
    yield event
    event.set()


def test_read_returns_the_result() -> None:
    reads = BoundedReads(threads=1, max_reads=1, timeout_s=10)
    assert asyncio.run(reads.read(divmod, 7, 2)) == (3, 1)
    assert asyncio.run(reads.read(divmod, 8, 2)) == (4, 0)


def test_a_slow_read_times_out(database_answers: threading.Event) -> None:
    reads = BoundedReads(threads=1, max_reads=1, timeout_s=0.01)
    with pytest.raises(TooSlow, match=r"did not answer within 0\.01 s"):
        asyncio.run(reads.read(database_answers.wait))


def test_a_timed_out_read_counts_until_it_returns(database_answers: threading.Event) -> None:
    async def scenario() -> None:
        reads = BoundedReads(threads=1, max_reads=1, timeout_s=0.01)
        with pytest.raises(TooSlow):
            await reads.read(database_answers.wait)
        with pytest.raises(Busy, match="1 reads of the store are running"):
            await reads.read(abs, -1)
        database_answers.set()
        assert await read_with_retries(reads) == 1

    asyncio.run(scenario())


def test_a_queued_read_that_timed_out_never_starts(database_answers: threading.Event) -> None:
    async def scenario() -> None:
        reads = BoundedReads(threads=1, max_reads=2, timeout_s=0.01)
        started: list[str] = []
        with pytest.raises(TooSlow):
            await reads.read(database_answers.wait)
        with pytest.raises(TooSlow):
            await reads.read(started.append, "late")
        database_answers.set()
        assert await read_with_retries(reads) == 1
        assert started == []

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["timeout", "cancelled"])
def test_a_late_result_is_discarded(database_answers: threading.Event, how: str) -> None:
    discarded: list[bool] = []
    started = threading.Event()

    def read_database() -> bool:
        started.set()
        return database_answers.wait()

    async def scenario() -> None:
        reads = BoundedReads(threads=1, max_reads=1, timeout_s=0.1 if how == "timeout" else 10)
        reading = asyncio.create_task(reads.read(read_database, discard=discarded.append))
        while not started.is_set():
            await asyncio.sleep(0.001)
        if how == "cancelled":
            reading.cancel()
        with pytest.raises(TooSlow if how == "timeout" else asyncio.CancelledError):
            await reading
        assert discarded == []
        database_answers.set()
        assert await read_with_retries(reads) == 1
        assert discarded == [True]

    asyncio.run(scenario())


def test_a_result_in_time_is_not_discarded() -> None:
    discarded: list[int] = []
    reads = BoundedReads(threads=1, max_reads=1, timeout_s=10)
    assert asyncio.run(reads.read(abs, -1, discard=discarded.append)) == 1
    assert discarded == []


def test_a_store_error_becomes_not_ready() -> None:
    def fail() -> None:
        raise StoreError("the database cannot be used")

    reads = BoundedReads(threads=1, max_reads=1, timeout_s=10)
    with pytest.raises(NotReady, match="the database cannot be used"):
        asyncio.run(reads.read(fail))


async def read_with_retries(reads: BoundedReads) -> int:
    """Retry a read until it is accepted."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await reads.read(abs, -1)
            except (Busy, TooSlow):
                await asyncio.sleep(0.001)
