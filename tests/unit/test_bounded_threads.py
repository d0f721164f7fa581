"""Tests of the places and the deadline of requests that wait for a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from serve_app.bounded_threads import BoundedThreads
from serve_app.errors import Busy, TooSlow


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Work waits until it is set."""
    event = threading.Event()
    yield event
    event.set()


def bounded_threads(places: int, wait_s: float = 5.0) -> BoundedThreads:
    return BoundedThreads(
        "test", "files", threads=1, places=places, wait_s=wait_s, returns_memory=True
    )


def test_the_result_and_the_error_of_the_work_are_those_of_run() -> None:
    async def check() -> None:
        some = bounded_threads(1)
        for value in range(3):
            assert await some.run(lambda x: x + 1, value) == value + 1
            with pytest.raises(ZeroDivisionError):
                await some.run(lambda: 1 // 0)

    asyncio.run(check())


def test_a_request_without_a_place_is_refused(gate: threading.Event) -> None:
    async def check() -> None:
        some = bounded_threads(2)
        tasks = [asyncio.create_task(some.run(gate.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="2 requests with files are being processed: try again"):
            await some.run(gate.wait)
        gate.set()
        assert await asyncio.gather(*tasks) == [True, True]
        assert await some.run(gate.wait)

    asyncio.run(check())


def test_a_request_that_waits_too_long_is_given_up(gate: threading.Event) -> None:
    """Its place is free again if its work had not begun."""

    async def check() -> None:
        some = bounded_threads(2, wait_s=0.05)
        begun = asyncio.create_task(some.run(gate.wait))
        waiting = asyncio.create_task(some.run(gate.wait))
        for task in (begun, waiting):
            with pytest.raises(TooSlow, match=r"files were not processed in 0\.05 s: try again"):
                await task
        with pytest.raises(TooSlow):
            await some.run(gate.wait)
        gate.set()

    asyncio.run(check())


def test_a_request_whose_client_is_gone_frees_its_place(gate: threading.Event) -> None:
    async def check() -> None:
        some = bounded_threads(2)
        begun = asyncio.create_task(some.run(gate.wait))
        await asyncio.sleep(0)
        for _ in range(3):
            waiting = asyncio.create_task(some.run(gate.wait))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        gate.set()
        assert await begun

    asyncio.run(check())
