"""A change is made once for each key, whoever waits for it and however often it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from serve_app.errors import KeyInUse, KeyMismatch
from serve_app.idempotency import Once
from serve_app.store.idempotency import Claim

ASKED = ["update", "v2", "rolling", None, "anna", "a test"]


class FakeKeys:
    """The store's keys, which outlive a Controller."""

    def __init__(self) -> None:
        self.claims: dict[str, Claim] = {}

    def claim_key(self, key: str, request: str, at_ms: int) -> Claim | None:
        assert at_ms > 1_700_000_000_000
        if key in self.claims:
            return self.claims[key]
        self.claims[key] = Claim(request, None)
        return None

    def settle_key(self, key: str, revision: int) -> None:
        self.claims[key] = Claim(self.claims[key].request, revision)

    def release_key(self, key: str) -> None:
        del self.claims[key]


class Controller:
    """Makes revisions, when it may.

    Attributes:
        made: How many.
        may: Whether changes go on.
        failure: What they meet.
    """

    def __init__(self, keys: FakeKeys) -> None:
        self.made = 0
        self.may = asyncio.Event()
        self.may.set()
        self.failure: Exception | None = None
        self._once = Once(keys, self._in_writer)

    def ask(self, key: str = "k", asked: Any = ASKED) -> Coroutine[Any, Any, int]:
        return self._once.make(key, asked, self._change)

    async def _change(self) -> int:
        await self.may.wait()
        if self.failure:
            raise self.failure
        self.made += 1
        return self.made

    async def _in_writer(self, act: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(0)
        return act(*args)


def run(scenario: Callable[[Controller], Awaitable[None]], keys: FakeKeys | None = None) -> None:
    async def play() -> None:
        await scenario(Controller(keys or FakeKeys()))

    asyncio.run(play())


async def a_while() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_the_same_again_is_the_same_answer() -> None:
    async def scenario(controller: Controller) -> None:
        assert [await controller.ask() for _ in range(3)] == [1, 1, 1]
        assert await controller.ask("another") == 2
        assert controller.made == 2

    run(scenario)


def test_a_later_controller_knows_as_well() -> None:
    async def scenario(controller: Controller) -> None:
        assert await controller.ask() == 1
        controller.failure = RuntimeError("it was made already")

    keys = FakeKeys()
    run(scenario, keys)
    run(scenario, keys)


@pytest.mark.parametrize(
    "other", [["restore", 3, "anna", "a test"], [*ASKED[:-1], "another test"], []]
)
def test_another_request_under_a_key_is_rejected(other: list[Any]) -> None:
    async def scenario(controller: Controller) -> None:
        await controller.ask()
        with pytest.raises(KeyMismatch, match="Idempotency-Key k came with another request"):
            await controller.ask(asked=other)
        assert controller.made == 1

    run(scenario)


def test_what_is_asked_again_too_soon_is_told_so() -> None:
    async def scenario(controller: Controller) -> None:
        controller.may.clear()
        first = asyncio.create_task(controller.ask())
        await a_while()
        with pytest.raises(KeyInUse, match="is under way: ask again in a second"):
            await controller.ask()
        with pytest.raises(KeyMismatch):
            await controller.ask(asked=[])
        controller.may.set()
        assert [await first, await controller.ask(), controller.made] == [1, 1, 1]

    run(scenario)


def test_a_change_goes_on_when_nobody_waits_for_it_any_more() -> None:
    async def scenario(controller: Controller) -> None:
        controller.may.clear()
        first = asyncio.create_task(controller.ask())
        await a_while()
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        controller.may.set()
        await a_while()
        assert [await controller.ask(), controller.made] == [1, 1]

    run(scenario)


def test_what_failed_may_be_tried_again() -> None:
    async def scenario(controller: Controller) -> None:
        controller.failure = RuntimeError("not now")
        for _ in range(2):
            with pytest.raises(RuntimeError, match="not now"):
                await controller.ask()
        controller.failure = None
        assert await controller.ask(asked=["something else"]) == 1

    run(scenario)


def test_what_a_controller_left_undone_is_told_and_not_done_again() -> None:
    """Nobody knows how far it came."""

    async def interrupted(controller: Controller) -> None:
        controller.may.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(controller.ask(), 0.01)

    async def scenario(controller: Controller) -> None:
        with pytest.raises(KeyInUse, match="was interrupted: see whether"):
            await controller.ask()
        assert controller.made == 0

    keys = FakeKeys()
    run(interrupted, keys)
    run(scenario, keys)
