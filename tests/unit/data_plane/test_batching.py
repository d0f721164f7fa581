"""Tests of the batcher. Each image has a number that its prediction repeats, so mix-ups show."""

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

CLIENT: ContextVar[str] = ContextVar("CLIENT", default="none")


def images(first: int, count: int = 1, side: int = 2) -> Pixels:
    """uint8 [count, side, side, 3]; the values of image n are all n."""
    numbers = np.arange(first, first + count, dtype=np.uint8)
    return np.broadcast_to(numbers[:, None, None, None], (count, side, side, 3)).copy()


def numbers(pixels: Pixels) -> list[int]:
    return [int(number) for number in pixels[:, 0, 0, 0]]


def predicted_numbers(response: PoolResponse) -> list[int]:
    assert isinstance(response, Prediction)
    return [int(number) for number in response.probabilities[:, 0]]


def predict(pixels: Pixels) -> Prediction:
    return Prediction("v1", ("n",), pixels[:, 0, 0, :1].astype(np.float32), 1.0)


@dataclass
class Replicas:
    """Holds each call until its release.

    Attributes:
        waiting: The pixels and the response of each call in progress, oldest first.
        received: The image numbers of each call, oldest first.
        contexts: The value of `CLIENT` in each call.
    """

    waiting: list[tuple[Pixels, asyncio.Future[PoolResponse]]] = field(default_factory=list)
    received: list[list[int]] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)

    async def __call__(self, pixels: Pixels) -> PoolResponse:
        self.received.append(numbers(pixels))
        self.contexts.append(CLIENT.get())
        response: asyncio.Future[PoolResponse] = asyncio.get_running_loop().create_future()
        self.waiting.append((pixels, response))
        return await response

    async def release(self, outcome: PoolResponse | Exception | None = None) -> None:
        """End the oldest call with an outcome; by default with its predictions."""
        pixels, response = self.waiting.pop(0)
        if isinstance(outcome, Exception):
            response.set_exception(outcome)
        else:
            response.set_result(outcome or predict(pixels))
        await settle()

    async def release_all(self) -> None:
        while self.waiting:
            await self.release()


async def settle() -> None:
    """Let all tasks run that can."""
    for _ in range(6):
        await asyncio.sleep(0)


Send = Callable[[Pixels], "asyncio.Task[PoolResponse]"]


def sender(batcher: Batcher) -> Send:
    return lambda pixels: asyncio.create_task(batcher.classify(pixels))


def scenario(
    play: Callable[[Replicas, Send], Awaitable[None]], *, max_calls: int = 1, **limits: Any
) -> None:
    async def run() -> None:
        replicas = Replicas()
        await play(replicas, sender(Batcher(replicas, max_calls=max_calls, **limits)))

    asyncio.run(run())


def test_a_single_request_is_sent_at_once() -> None:
    async def play(replicas: Replicas, send: Send) -> None:
        task = send(images(7, 2))
        await settle()
        assert replicas.received == [[7, 8]]
        await replicas.release()
        assert predicted_numbers(task.result()) == [7, 8]

    scenario(play)


def test_requests_during_a_call_are_batched_in_order() -> None:
    async def play(replicas: Replicas, send: Send) -> None:
        tasks = [send(images(n)) for n in range(4)]
        await settle()
        assert replicas.received == [[0]]
        await replicas.release()
        assert replicas.received == [[0], [1, 2, 3]]
        await replicas.release()
        assert [predicted_numbers(task.result()) for task in tasks] == [[0], [1], [2], [3]]

    scenario(play)


def test_the_number_of_concurrent_calls_is_limited() -> None:
    async def play(replicas: Replicas, send: Send) -> None:
        for n in range(5):
            send(images(n))
        await settle()
        assert replicas.received == [[0], [1]]
        await replicas.release_all()
        assert replicas.received == [[0], [1], [2, 3, 4]]

    scenario(play, eager_calls=2, max_calls=2)


def test_a_full_batch_starts_another_call() -> None:
    """Otherwise load would never reach a third replica."""

    async def play(replicas: Replicas, send: Send) -> None:
        for n in range(6):
            send(images(n))
        await settle()
        assert replicas.received == [[0], [1, 2]]
        await replicas.release()
        assert replicas.received == [[0], [1, 2], [3, 4]]

    scenario(play, eager_calls=1, max_calls=2, max_images=2)


def test_a_batch_has_at_most_max_images_and_splits_no_request() -> None:
    async def play(replicas: Replicas, send: Send) -> None:
        tasks = [send(images(10 * n, count)) for n, count in enumerate([1, 2, 2, 1, 3])]
        await settle()
        await replicas.release_all()
        assert replicas.received == [[0], [10, 11], [20, 21, 30], [40, 41, 42]]
        assert [len(predicted_numbers(task.result())) for task in tasks] == [1, 2, 2, 1, 3]

    scenario(play, max_images=3)


def test_a_request_larger_than_max_images_is_a_batch() -> None:
    async def play(replicas: Replicas, send: Send) -> None:
        tasks = [send(images(10 * n, count)) for n, count in enumerate([1, 1, 9, 1])]
        await settle()
        await replicas.release_all()
        assert [len(received) for received in replicas.received] == [1, 1, 9, 1]
        assert len(predicted_numbers(tasks[2].result())) == 9

    scenario(play, max_images=3)


def test_images_of_different_sizes_are_not_batched() -> None:
    async def play(replicas: Replicas, send: Send) -> None:
        for n, side in enumerate([2, 2, 2, 3, 3, 2]):
            send(images(n, side=side))
        await settle()
        await replicas.release_all()
        assert replicas.received == [[0], [1, 2], [3, 4], [5]]

    scenario(play)


@pytest.mark.parametrize("outcome", [WrongInputSize("v1", 64), Unavailable("holds nothing")])
def test_a_response_without_prediction_reaches_all_requests_of_its_batch(
    outcome: PoolResponse,
) -> None:
    async def play(replicas: Replicas, send: Send) -> None:
        tasks = [send(images(n)) for n in range(3)]
        await settle()
        await replicas.release()
        await replicas.release(outcome)
        assert [task.result() for task in tasks[1:]] == [outcome, outcome]

    scenario(play)


@pytest.mark.parametrize("failure", [TooSlow("15 s"), RuntimeError("unexpected")])
def test_an_error_reaches_only_the_requests_of_its_batch(failure: Exception) -> None:
    async def play(replicas: Replicas, send: Send) -> None:
        tasks = [send(images(n)) for n in range(4)]
        await settle()
        await replicas.release()
        tasks += [send(images(n)) for n in (4, 5)]
        await settle()
        await replicas.release(failure)
        await replicas.release()
        assert [task.exception() for task in tasks] == [None, *[failure] * 3, None, None]

    scenario(play)


def test_a_cancelled_call_fails_its_requests() -> None:
    """Serve cancels a call whose replica stops; its requests must not wait for a timeout."""

    async def play(replicas: Replicas, send: Send) -> None:
        tasks = [send(images(n)) for n in range(3)]
        await settle()
        await replicas.release()
        replicas.waiting.pop()[1].cancel()
        await settle()
        assert [type(task.exception()) for task in tasks[1:]] == [NotReady, NotReady]
        last = send(images(9))
        await settle()
        await replicas.release()
        assert predicted_numbers(last.result()) == [9]

    scenario(play)


def test_a_disconnect_does_not_affect_other_requests_of_the_batch() -> None:
    async def play(replicas: Replicas, send: Send) -> None:
        tasks = [send(images(n)) for n in range(4)]
        await settle()
        await replicas.release()
        tasks[2].cancel()
        await settle()
        await replicas.release()
        assert [predicted_numbers(tasks[n].result()) for n in (1, 3)] == [[1], [3]]
        assert tasks[2].cancelled()

    scenario(play)


def test_a_cancelled_request_in_the_queue_is_not_sent() -> None:
    async def play(replicas: Replicas, send: Send) -> None:
        tasks = [send(images(n)) for n in range(4)]
        await settle()
        tasks[2].cancel()
        await settle()
        await replicas.release_all()
        assert replicas.received == [[0], [1, 3]]
        assert predicted_numbers(tasks[3].result()) == [3]

    scenario(play)


def test_a_late_call_does_not_delay_other_requests() -> None:
    """For example, one of several replicas is frozen."""

    async def play(replicas: Replicas, send: Send) -> None:
        first = send(images(1))
        await settle()
        second, third = send(images(2)), send(images(3))
        await settle()
        assert replicas.received == [[1]]
        while len(replicas.waiting) < 2:
            await asyncio.sleep(0.001)
        assert replicas.received == [[1], [2, 3]]
        pixels, response = replicas.waiting.pop()
        response.set_result(predict(pixels))
        assert predicted_numbers(await second) + predicted_numbers(await third) == [2, 3]
        fourth = send(images(4))
        await settle()
        assert replicas.received == [[1], [2, 3], [4]]  # at once: the late call does not count
        await replicas.release_all()
        assert predicted_numbers(await first) + predicted_numbers(await fourth) == [1, 4]

    scenario(play, max_calls=4, eager_calls=1, late_after_s=0.01)


def test_a_late_call_is_cancelled_when_all_its_requests_are() -> None:
    """Otherwise it would use the capacity of the replicas, of later ones too."""

    async def play(replicas: Replicas, send: Send) -> None:
        first, second = send(images(1)), send(images(2))
        await settle()
        await replicas.release()
        assert predicted_numbers(first.result()) == [1]
        third = send(images(3))
        await settle()
        assert replicas.received == [[1], [2]]
        second.cancel()
        await asyncio.sleep(0.02)
        assert replicas.waiting[0][1].cancelled()
        assert replicas.received == [[1], [2], [3]]
        await asyncio.sleep(0.02)
        _, response = replicas.waiting[1]
        assert not response.done()  # the third request waits
        third.cancel()
        await settle()
        assert response.cancelled()

    scenario(play, late_after_s=0.01)


def test_a_late_call_continues_while_one_of_its_requests_waits() -> None:
    async def play(replicas: Replicas, send: Send) -> None:
        send(images(1))
        await settle()
        second, third = send(images(2)), send(images(3))
        await settle()
        await replicas.release()
        await asyncio.sleep(0.02)
        second.cancel()
        await settle()
        await replicas.release()
        assert predicted_numbers(third.result()) == [3]

    scenario(play, late_after_s=0.01)


def test_a_call_runs_in_an_empty_context() -> None:
    """Serve cancels what runs in the context of a request when its client disconnects."""

    async def play(replicas: Replicas, send: Send) -> None:
        CLIENT.set("anna")
        task = send(images(1))
        await settle()
        assert replicas.contexts == ["none"]
        await replicas.release()
        assert task.done()

    scenario(play)


def test_requests_are_rejected_while_the_queue_is_full() -> None:
    async def play(replicas: Replicas, send: Send) -> None:
        tasks = [send(images(n)) for n in range(4)]  # one in a call, three in the queue
        await settle()
        rejected = send(images(9))
        await settle()
        assert isinstance(rejected.exception(), Busy)
        await replicas.release()
        accepted = send(images(5))
        await settle()
        await replicas.release_all()
        assert [predicted_numbers(task.result()) for task in (*tasks, accepted)] == [
            [0],
            [1],
            [2],
            [3],
            [5],
        ]

    scenario(play, max_waiting=3)


@dataclass(frozen=True)
class Arrival:
    count: int
    side: int
    is_cancelled: bool


arrivals = st.builds(Arrival, st.integers(1, 5), st.integers(2, 3), st.booleans())
# How the oldest call ends after an arrival; None if it does not.
endings = st.sampled_from([None, None, None, "predicted", "predicted", "failed"])


@given(
    plan=st.lists(st.tuples(arrivals, endings), max_size=25),
    max_images=st.integers(1, 8),
    max_calls=st.integers(1, 3),
)
def test_every_request_gets_its_own_prediction_once(
    plan: list[tuple[Arrival, str | None]], max_images: int, max_calls: int
) -> None:
    async def play(replicas: Replicas, send: Send) -> None:
        tasks: list[tuple[list[int], asyncio.Task[PoolResponse]]] = []
        failed: set[int] = set()
        first = 0
        for arrival, ending in plan:
            pixels = images(first, arrival.count, arrival.side)
            first += arrival.count
            tasks.append((numbers(pixels), send(pixels)))
            await settle()
            assert len(replicas.waiting) <= max_calls
            if arrival.is_cancelled:
                tasks[-1][1].cancel()
                await settle()
            if ending and replicas.waiting:
                if ending == "failed":
                    failed.update(numbers(replicas.waiting[0][0]))
                await replicas.release(Problem("lost") if ending == "failed" else None)
        await replicas.release_all()

        sent = [number for call in replicas.received for number in call]
        assert sent == sorted(set(sent)), "in order, each once"
        for own, task in tasks:
            if task.cancelled():
                continue
            if failed & set(own):
                assert isinstance(task.exception(), Problem)
            else:
                assert predicted_numbers(task.result()) == own
        for call in replicas.received:
            together = [own for own, _ in tasks if own[0] in call]
            assert [n for own in together for n in own] == call, "no request is split"
            assert len(call) <= max_images or len(together) == 1

    scenario(play, max_images=max_images, max_calls=max_calls, max_waiting=100)
