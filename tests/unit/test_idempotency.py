"""Tests of idempotency keys: a change is made once per key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from serve_app.errors import KeyInUse, KeyMismatch
from serve_app.idempotency import IdempotentChanges
from serve_app.store.idempotency import Claim

REQUEST = ["update", "v2", "rolling", None, "anna", "a test"]


class FakeKeys:
    """In-memory keys, which outlive a controller."""

    def __init__(self) -> None:
        self.claims: dict[str, Claim] = {}

    def claim_key(self, key: str, request_digest: str, at_ms: int) -> Claim | None:
        assert at_ms > 1_700_000_000_000
        if key in self.claims:
            return self.claims[key]
        self.claims[key] = Claim(request_digest, None)
        return None

    def settle_key(self, key: str, revision: int) -> None:
        self.claims[key] = Claim(self.claims[key].request_digest, revision)

    def release_key(self, key: str) -> None:
        del self.claims[key]


class FakeController:
    """Makes revisions.

    Attributes:
        made: The number of revisions.
        can_change: Set while changes can finish.
        failure: The error of every change.
    """

    def __init__(self, keys: FakeKeys) -> None:
        self.made = 0
        self.can_change = asyncio.Event()
        self.can_change.set()
        self.failure: Exception | None = None
        self._idempotent_changes = IdempotentChanges(keys, self._in_writer)

    def request_change(self, key: str = "k", request: Any = REQUEST) -> Coroutine[Any, Any, int]:
        return self._idempotent_changes.make(key, request, self._change)

    async def _change(self) -> int:
        await self.can_change.wait()
        if self.failure:
            raise self.failure
        self.made += 1
        return self.made

    async def _in_writer(self, act: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(0)
        return act(*args)


def run(
    scenario: Callable[[FakeController], Awaitable[None]], keys: FakeKeys | None = None
) -> None:
    async def play() -> None:
        await scenario(FakeController(keys or FakeKeys()))

    asyncio.run(play())


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_repeated_request_gets_the_same_revision() -> None:
    async def scenario(controller: FakeController) -> None:
        assert [await controller.request_change() for _ in range(3)] == [1, 1, 1]
        assert await controller.request_change("another") == 2
        assert controller.made == 2

    run(scenario)


def test_keys_outlive_a_controller() -> None:
    async def scenario(controller: FakeController) -> None:
        assert await controller.request_change() == 1
        controller.failure = RuntimeError("it has been made")

    keys = FakeKeys()
    run(scenario, keys)
    run(scenario, keys)


@pytest.mark.parametrize(
    "other", [["restore", 3, "anna", "a test"], [*REQUEST[:-1], "another test"], []]
)
def test_another_request_under_a_key_is_rejected(other: list[Any]) -> None:
    async def scenario(controller: FakeController) -> None:
        await controller.request_change()
        with pytest.raises(KeyMismatch, match="Idempotency-Key k was used for another request"):
            await controller.request_change(request=other)
        assert controller.made == 1

    run(scenario)


def test_a_repeated_request_during_the_change_is_rejected() -> None:
    async def scenario(controller: FakeController) -> None:
        controller.can_change.clear()
        first = asyncio.create_task(controller.request_change())
        await settle()
        with pytest.raises(KeyInUse, match="is in progress: try again in a second"):
            await controller.request_change()
        with pytest.raises(KeyMismatch):
            await controller.request_change(request=[])
        controller.can_change.set()
        assert [await first, await controller.request_change(), controller.made] == [1, 1, 1]

    run(scenario)


def test_a_change_continues_after_its_caller_is_cancelled() -> None:
    async def scenario(controller: FakeController) -> None:
        controller.can_change.clear()
        first = asyncio.create_task(controller.request_change())
        await settle()
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        controller.can_change.set()
        await settle()
        assert [await controller.request_change(), controller.made] == [1, 1]

    run(scenario)


def test_a_failed_change_can_be_retried() -> None:
    async def scenario(controller: FakeController) -> None:
        controller.failure = RuntimeError("not now")
        for _ in range(2):
            with pytest.raises(RuntimeError, match="not now"):
                await controller.request_change()
        controller.failure = None
        assert await controller.request_change(request=["something else"]) == 1

    run(scenario)


def test_an_interrupted_change_is_reported_and_not_repeated() -> None:
    """It is unknown how much of the change was made."""

    async def interrupt(controller: FakeController) -> None:
        controller.can_change.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(controller.request_change(), 0.01)

    async def scenario(controller: FakeController) -> None:
        with pytest.raises(KeyInUse, match="was interrupted: check whether"):
            await controller.request_change()
        assert controller.made == 0

    keys = FakeKeys()
    run(interrupt, keys)
    run(scenario, keys)
