"""Each image carries its own number, and a reply repeats it: who got whose answer shows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.preprocess import Pixels
from serve_app.data_plane.batching import Batcher
from serve_app.data_plane.pools import PoolResponse, Prediction, Unavailable, WrongInputSize
from serve_app.errors import Busy, NotReady, Problem, TooSlow

WHOSE: ContextVar[str] = ContextVar("WHOSE", default="nobody's")


def images(first: int, count: int = 1, side: int = 2) -> Pixels:
    """Numbered images."""
    numbers = np.arange(first, first + count, dtype=np.uint8)
    return np.broadcast_to(numbers[:, None, None, None], (count, side, side, 3)).copy()


def numbers(pixels: Pixels) -> list[int]:
    return [int(number) for number in pixels[:, 0, 0, 0]]


def answered(reply: PoolResponse) -> list[int]:
    assert isinstance(reply, Prediction)
    return [int(number) for number in reply.probabilities[:, 0]]


def answer(pixels: Pixels) -> Prediction:
    return Prediction("v1", ("n",), pixels[:, 0, 0, :1].astype(np.float32), 1.0)


@dataclass
class Replicas:
    """Holds each call until it is released, with an answer or something else.

    Attributes:
        waiting: The calls under way.
        seen: The numbers of the images of each call, oldest first.
    """

    waiting: list[tuple[Pixels, asyncio.Future[PoolResponse]]] = field(default_factory=list)
    seen: list[list[int]] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)

    async def __call__(self, pixels: Pixels) -> PoolResponse:
        self.seen.append(numbers(pixels))
        self.contexts.append(WHOSE.get())
        reply: asyncio.Future[PoolResponse] = asyncio.get_running_loop().create_future()
        self.waiting.append((pixels, reply))
        return await reply

    async def release(self, outcome: PoolResponse | Exception | None = None) -> None:
        """The oldest call ends; without an outcome, with its answer."""
        pixels, reply = self.waiting.pop(0)
        if isinstance(outcome, Exception):
            reply.set_exception(outcome)
        else:
            reply.set_result(outcome or answer(pixels))
        await settle()

    async def release_all(self) -> None:
        while self.waiting:
            await self.release()


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(6):
        await asyncio.sleep(0)


Ask = Callable[[Pixels], "asyncio.Task[PoolResponse]"]


def asking(batcher: Batcher) -> Ask:
    return lambda pixels: asyncio.create_task(batcher.classify(pixels))


def scenario(
    play: Callable[[Replicas, Ask], Awaitable[None]], *, max_calls: int = 1, **limits: Any
) -> None:
    async def run() -> None:
        replicas = Replicas()
        await play(replicas, asking(Batcher(replicas, max_calls=max_calls, **limits)))

    asyncio.run(run())


def test_a_request_that_comes_alone_is_sent_at_once_and_alone() -> None:
    async def play(replicas: Replicas, ask: Ask) -> None:
        task = ask(images(7, 2))
        await settle()
        assert replicas.seen == [[7, 8]]
        await replicas.release()
        assert answered(task.result()) == [7, 8]

    scenario(play)


def test_what_comes_while_a_call_is_under_way_travels_together_in_order() -> None:
    async def play(replicas: Replicas, ask: Ask) -> None:
        tasks = [ask(images(n)) for n in range(4)]
        await settle()
        assert replicas.seen == [[0]]
        await replicas.release()
        assert replicas.seen == [[0], [1, 2, 3]]
        await replicas.release()
        assert [answered(task.result()) for task in tasks] == [[0], [1], [2], [3]]

    scenario(play)


def test_as_many_calls_are_under_way_at_once_as_may_be() -> None:
    async def play(replicas: Replicas, ask: Ask) -> None:
        for n in range(5):
            ask(images(n))
        await settle()
        assert replicas.seen == [[0], [1]]
        await replicas.release_all()
        assert replicas.seen == [[0], [1], [2, 3, 4]]

    scenario(play, eager_calls=2, max_calls=2)


def test_a_full_call_starts_beside_the_others_while_it_may() -> None:
    """Else load would never reach a third replica."""

    async def play(replicas: Replicas, ask: Ask) -> None:
        for n in range(6):
            ask(images(n))
        await settle()
        assert replicas.seen == [[0], [1, 2]]
        await replicas.release()
        assert replicas.seen == [[0], [1, 2], [3, 4]]

    scenario(play, eager_calls=1, max_calls=2, max_images=2)


def test_a_call_takes_no_more_images_than_may_travel_and_splits_no_request() -> None:
    async def play(replicas: Replicas, ask: Ask) -> None:
        tasks = [ask(images(10 * n, count)) for n, count in enumerate([1, 2, 2, 1, 3])]
        await settle()
        await replicas.release_all()
        assert replicas.seen == [[0], [10, 11], [20, 21, 30], [40, 41, 42]]
        assert [len(answered(task.result())) for task in tasks] == [1, 2, 2, 1, 3]

    scenario(play, max_images=3)


def test_a_request_larger_than_a_call_travels_alone() -> None:
    async def play(replicas: Replicas, ask: Ask) -> None:
        tasks = [ask(images(10 * n, count)) for n, count in enumerate([1, 1, 9, 1])]
        await settle()
        await replicas.release_all()
        assert [len(seen) for seen in replicas.seen] == [1, 1, 9, 1]
        assert len(answered(tasks[2].result())) == 9

    scenario(play, max_images=3)


def test_images_of_different_sizes_never_travel_together() -> None:
    async def play(replicas: Replicas, ask: Ask) -> None:
        for n, side in enumerate([2, 2, 2, 3, 3, 2]):
            ask(images(n, side=side))
        await settle()
        await replicas.release_all()
        assert replicas.seen == [[0], [1, 2], [3, 4], [5]]

    scenario(play)


@pytest.mark.parametrize("outcome", [WrongInputSize("v1", 64), Unavailable("holds nothing")])
def test_a_reply_that_is_no_answer_reaches_all_requests_of_its_call(outcome: PoolResponse) -> None:
    async def play(replicas: Replicas, ask: Ask) -> None:
        tasks = [ask(images(n)) for n in range(3)]
        await settle()
        await replicas.release()
        await replicas.release(outcome)
        assert [task.result() for task in tasks[1:]] == [outcome, outcome]

    scenario(play)


@pytest.mark.parametrize("failure", [TooSlow("15 s"), RuntimeError("nobody expected it")])
def test_a_failure_reaches_all_requests_of_its_call_and_no_others(failure: Exception) -> None:
    async def play(replicas: Replicas, ask: Ask) -> None:
        tasks = [ask(images(n)) for n in range(4)]
        await settle()
        await replicas.release()
        tasks += [ask(images(n)) for n in (4, 5)]
        await settle()
        await replicas.release(failure)
        await replicas.release()
        assert [task.exception() for task in tasks] == [None, *[failure] * 3, None, None]

    scenario(play)


def test_a_call_that_somebody_cancels_fails_its_requests_instead_of_leaving_them_waiting() -> None:
    """Serve cancels a call whose replica goes; nobody must wait for it until the proxy gives up."""

    async def play(replicas: Replicas, ask: Ask) -> None:
        tasks = [ask(images(n)) for n in range(3)]
        await settle()
        await replicas.release()
        replicas.waiting.pop()[1].cancel()
        await settle()
        assert [type(task.exception()) for task in tasks[1:]] == [NotReady, NotReady]
        last = ask(images(9))
        await settle()
        await replicas.release()
        assert answered(last.result()) == [9]

    scenario(play)


def test_a_client_that_leaves_its_call_does_not_harm_its_neighbours() -> None:
    async def play(replicas: Replicas, ask: Ask) -> None:
        tasks = [ask(images(n)) for n in range(4)]
        await settle()
        await replicas.release()
        tasks[2].cancel()
        await settle()
        await replicas.release()
        assert [answered(tasks[n].result()) for n in (1, 3)] == [[1], [3]]
        assert tasks[2].cancelled()

    scenario(play)


def test_a_client_that_leaves_the_queue_is_not_sent() -> None:
    async def play(replicas: Replicas, ask: Ask) -> None:
        tasks = [ask(images(n)) for n in range(4)]
        await settle()
        tasks[2].cancel()
        await settle()
        await replicas.release_all()
        assert replicas.seen == [[0], [1, 3]]
        assert answered(tasks[3].result()) == [3]

    scenario(play)


def test_nobody_waits_for_a_call_that_may_never_end() -> None:
    """Its replica is frozen, say; the others are well."""

    async def play(replicas: Replicas, ask: Ask) -> None:
        hung = ask(images(1))
        await settle()
        second, third = ask(images(2)), ask(images(3))
        await settle()
        assert replicas.seen == [[1]]
        while len(replicas.waiting) < 2:
            await asyncio.sleep(0.001)
        assert replicas.seen == [[1], [2, 3]]
        pixels, reply = replicas.waiting.pop()
        reply.set_result(answer(pixels))
        assert answered(await second) + answered(await third) == [2, 3]
        late = ask(images(4))
        await settle()
        assert replicas.seen == [[1], [2, 3], [4]]  # at once: the hung one does not count
        await replicas.release_all()
        assert answered(await hung) + answered(await late) == [1, 4]

    scenario(play, max_calls=4, eager_calls=1, patience_s=0.01)


def test_a_call_that_nobody_waits_for_any_more_ends() -> None:
    """Else it would be load, of replicas that are to come as well."""

    async def play(replicas: Replicas, ask: Ask) -> None:
        anna, ben = ask(images(1)), ask(images(2))
        await settle()
        await replicas.release()
        assert answered(anna.result()) == [1]
        carl = ask(images(3))
        await settle()
        assert replicas.seen == [[1], [2]]
        ben.cancel()
        await asyncio.sleep(0.02)
        assert replicas.waiting[0][1].cancelled()
        assert replicas.seen == [[1], [2], [3]]
        await asyncio.sleep(0.02)
        _, reply = replicas.waiting[1]
        assert not reply.done()  # carl waits
        carl.cancel()
        await settle()
        assert reply.cancelled()

    scenario(play, patience_s=0.01)


def test_a_call_goes_on_while_one_of_its_clients_waits() -> None:
    async def play(replicas: Replicas, ask: Ask) -> None:
        ask(images(1))
        await settle()
        ben, carl = ask(images(2)), ask(images(3))
        await settle()
        await replicas.release()
        await asyncio.sleep(0.02)
        ben.cancel()
        await settle()
        await replicas.release()
        assert answered(carl.result()) == [3]

    scenario(play, patience_s=0.01)


def test_a_call_is_no_clients_own() -> None:
    """Serve cancels what runs in the context of a request whose client hung up."""

    async def play(replicas: Replicas, ask: Ask) -> None:
        WHOSE.set("anna's")
        task = ask(images(1))
        await settle()
        assert replicas.contexts == ["nobody's"]
        await replicas.release()
        assert task.done()

    scenario(play)


def test_too_many_waiting_requests_are_told_to_come_back() -> None:
    async def play(replicas: Replicas, ask: Ask) -> None:
        tasks = [ask(images(n)) for n in range(4)]  # one under way, three in the queue
        await settle()
        rejected = ask(images(9))
        await settle()
        assert isinstance(rejected.exception(), Busy)
        await replicas.release()
        welcome = ask(images(5))
        await settle()
        await replicas.release_all()
        assert [answered(task.result()) for task in (*tasks, welcome)] == [[0], [1], [2], [3], [5]]

    scenario(play, max_waiting=3)


@dataclass(frozen=True)
class Arrival:
    count: int
    side: int
    leaves: bool


arrivals = st.builds(Arrival, st.integers(1, 5), st.integers(2, 3), st.booleans())
# Whether the next thing to happen is the end of the oldest call, and how it ends.
endings = st.sampled_from([None, None, None, "answered", "answered", "failed"])


@given(
    plan=st.lists(st.tuples(arrivals, endings), max_size=25),
    max_images=st.integers(1, 8),
    max_calls=st.integers(1, 3),
)
def test_every_request_gets_its_own_answer_once(
    plan: list[tuple[Arrival, str | None]], max_images: int, max_calls: int
) -> None:
    async def play(replicas: Replicas, ask: Ask) -> None:
        tasks: list[tuple[list[int], asyncio.Task[PoolResponse]]] = []
        failed: set[int] = set()
        first = 0
        for arrival, ending in plan:
            pixels = images(first, arrival.count, arrival.side)
            first += arrival.count
            tasks.append((numbers(pixels), ask(pixels)))
            await settle()
            assert len(replicas.waiting) <= max_calls
            if arrival.leaves:
                tasks[-1][1].cancel()
                await settle()
            if ending and replicas.waiting:
                if ending == "failed":
                    failed.update(numbers(replicas.waiting[0][0]))
                await replicas.release(Problem("lost") if ending == "failed" else None)
        await replicas.release_all()

        sent = [number for call in replicas.seen for number in call]
        assert sent == sorted(set(sent)), "in order, and each once"
        for own, task in tasks:
            if task.cancelled():
                continue
            if failed & set(own):
                assert isinstance(task.exception(), Problem)
            else:
                assert answered(task.result()) == own
        for call in replicas.seen:
            together = [own for own, _ in tasks if own[0] in call]
            assert [n for own in together for n in own] == call, "no request is split"
            assert len(call) <= max_images or len(together) == 1

    scenario(play, max_images=max_images, max_calls=max_calls, max_waiting=100)
