"""One look for all who ask at the same time, or soon after."""

from __future__ import annotations

import asyncio

import pytest

from serve_app.data_plane.shared_look import SharedLook
from serve_app.errors import NotReady


class Source:
    """Numbers its looks; each waits for `gate`, then fails with `failure` if it is set."""

    def __init__(self) -> None:
        self.looks = 0
        self.gate = asyncio.Event()
        self.failure: BaseException | None = None

    async def look(self) -> int:
        self.looks += 1
        number = self.looks
        await self.gate.wait()
        if self.failure:
            raise self.failure
        return number


def test_all_who_ask_during_a_look_share_it() -> None:
    async def scenario() -> None:
        source = Source()
        shared = SharedLook(source.look, max_age_s=60)
        asked = [asyncio.create_task(shared.get()) for _ in range(200)]
        await asyncio.sleep(0)
        source.gate.set()
        assert set(await asyncio.gather(*asked)) == {1}
        assert await shared.get() == 1
        assert source.looks == 1

    asyncio.run(scenario())


def test_an_old_result_is_not_used() -> None:
    async def scenario() -> None:
        source = Source()
        source.gate.set()
        shared = SharedLook(source.look, max_age_s=0)
        assert [await shared.get(), await shared.get()] == [1, 2]

    asyncio.run(scenario())


def test_an_error_reaches_all_who_wait_and_is_not_kept() -> None:
    async def scenario() -> None:
        source = Source()
        source.failure = OSError("lost")
        shared = SharedLook(source.look, max_age_s=60)
        asked = [asyncio.create_task(shared.get()) for _ in range(3)]
        await asyncio.sleep(0)
        source.gate.set()
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(result) for result in results] == [OSError] * 3
        source.failure = None
        assert await shared.get() == 2

    asyncio.run(scenario())


def test_a_caller_that_leaves_does_not_end_the_look() -> None:
    async def scenario() -> None:
        source = Source()
        shared = SharedLook(source.look, max_age_s=60)
        leaving, staying = (asyncio.create_task(shared.get()) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        source.gate.set()
        assert leaving.cancelled()
        assert await staying == 1

    asyncio.run(scenario())


def test_a_look_that_the_other_side_cancels_is_not_ready() -> None:
    async def scenario() -> None:
        source = Source()
        source.failure = asyncio.CancelledError()
        source.gate.set()
        with pytest.raises(NotReady, match="cancelled"):
            await SharedLook(source.look, max_age_s=60).get()

    asyncio.run(scenario())
