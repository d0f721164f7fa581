"""Admission by expected wait: its decisions, and simulations of a queue."""

from __future__ import annotations

import contextlib
import heapq
import random
from contextlib import ExitStack

import numpy as np
import pytest

from serve_app.data_plane.admission import (
    FREE_IMAGES,
    MAX_IN_PROGRESS,
    MAX_READING,
    MAX_WAIT_S,
    Admission,
)
from serve_app.errors import Busy, NotReady


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission(clock)


def classify_one_by_one(admission: Admission, clock: Clock, images: int, each_s: float) -> None:
    for _ in range(images):
        with admission.work(1):
            clock.now_s += each_s


def test_the_expected_wait_is_the_work_in_progress_over_the_throughput(
    admission: Admission, clock: Clock
) -> None:
    classify_one_by_one(admission, clock, 200, each_s=0.05)
    assert admission.expected_wait_s(1) == pytest.approx(0.05, rel=0.1)
    with admission.work(9):
        assert admission.expected_wait_s(1) == pytest.approx(0.5, rel=0.1)
        assert admission.expected_wait_s(11) == pytest.approx(1.0, rel=0.1)


def test_idle_time_does_not_count(admission: Admission, clock: Clock) -> None:
    for _ in range(50):
        classify_one_by_one(admission, clock, 1, each_s=0.02)
        clock.now_s += 3600
    assert admission.expected_wait_s(1) < 0.1


def test_images_that_would_wait_too_long_are_refused(admission: Admission, clock: Clock) -> None:
    classify_one_by_one(admission, clock, 100, each_s=0.1)
    fitting = round(MAX_WAIT_S / 0.1)
    with ExitStack() as stack:
        for _ in range(fitting):
            stack.enter_context(admission.work(1))
        for refused in (admission.arrival(), admission.work(2)):
            with pytest.raises(Busy, match=f"{fitting} images are in progress, and yours"):
                stack.enter_context(refused)
    with admission.arrival(), admission.work(2):
        pass


def test_a_few_images_are_never_refused(admission: Admission, clock: Clock) -> None:
    """Otherwise, after an outage nothing would be admitted that shows its end."""
    with admission.work(1):
        clock.now_s += 1e9
    with ExitStack() as stack:
        for _ in range(FREE_IMAGES):
            stack.enter_context(admission.arrival())
            stack.enter_context(admission.work(1))
        with pytest.raises(Busy):
            stack.enter_context(admission.work(1))


def test_the_first_requests_are_admitted_before_any_is_done(admission: Admission) -> None:
    with ExitStack() as stack:
        for _ in range(128):
            stack.enter_context(admission.work(1))


def test_images_that_fail_make_room_like_others(admission: Admission, clock: Clock) -> None:
    """Otherwise a client that repeats a broken request would shut out all others."""
    for _ in range(100):
        with contextlib.suppress(NotReady), admission.work(64):
            clock.now_s += 0.3
            raise NotReady("an image is broken")
    with admission.work(64):
        assert admission.expected_wait_s(1) == pytest.approx(0.3, rel=0.2)


def test_bodies_have_places_of_their_own(admission: Admission) -> None:
    with ExitStack() as slow_clients:
        for _ in range(MAX_READING):
            slow_clients.enter_context(admission.arrival())
        with pytest.raises(Busy, match=f"bodies of {MAX_READING} requests are being received"):
            slow_clients.enter_context(admission.arrival())
        with admission.work(1), admission.arrival():  # one of them is read
            pass


def test_requests_have_a_limit_even_if_they_are_fast(admission: Admission, clock: Clock) -> None:
    classify_one_by_one(admission, clock, 2000, each_s=0.001)
    with ExitStack() as stack:
        for _ in range(MAX_IN_PROGRESS):
            stack.enter_context(admission.work(1))
        with pytest.raises(Busy, match=f"{MAX_IN_PROGRESS} requests are in progress"):
            stack.enter_context(admission.arrival())


class Queue:
    """A first-in, first-out queue with Poisson arrivals before an `Admission`."""

    def __init__(self, servers: int, per_second: float, batch: int = 1) -> None:
        """
        Args:
            per_second: Requests that all servers together can do.
            batch: Requests that a server takes and finishes together.
        """
        self._clock = Clock()
        self._admission = Admission(self._clock)
        self._rng = random.Random(1)  # noqa: S311 not a secret
        self._batch = batch
        self._service_s = servers * batch / per_second
        self._free = servers
        self._waiting: list[tuple[float, ExitStack]] = []
        self._running: list[tuple[float, int, list[tuple[float, ExitStack]]]] = []
        self.times_s: list[float] = []
        self.refused = 0

    def run(self, arrivals_per_second: float, seconds: float) -> None:
        end_s = self._clock.now_s + seconds
        next_s = self._clock.now_s
        while next_s < end_s:
            while self._running and self._running[0][0] <= next_s:
                self._finish()
            self._clock.now_s = next_s
            self._arrive()
            next_s += self._rng.expovariate(arrivals_per_second)

    def _arrive(self) -> None:
        stack = ExitStack()
        try:
            stack.enter_context(self._admission.arrival())
            stack.enter_context(self._admission.work(1))
        except Busy:
            stack.close()
            self.refused += 1
            return
        self._waiting.append((self._clock.now_s, stack))
        self._start()

    def _start(self) -> None:
        while self._free and self._waiting:
            taken, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
            self._free -= 1
            ends_s = self._clock.now_s + self._service_s
            heapq.heappush(self._running, (ends_s, id(taken), taken))

    def _finish(self) -> None:
        self._clock.now_s, _, taken = heapq.heappop(self._running)
        for arrived_s, stack in taken:
            stack.close()
            self.times_s.append(self._clock.now_s - arrived_s)
        self._free += 1
        self._start()


@pytest.mark.parametrize(
    ("servers", "per_second", "batch"), [(1, 20, 1), (4, 100, 1), (2, 100, 12), (4, 250, 8)]
)
def test_under_three_times_the_load_accepted_requests_are_answered_in_two_seconds(
    servers: int, per_second: float, batch: int
) -> None:
    queue = Queue(servers, per_second, batch)
    queue.run(3 * per_second, seconds=10)  # the throughput is not known at first
    queue.times_s.clear()
    queue.run(3 * per_second, seconds=60)
    assert np.quantile(queue.times_s, 0.99) <= 2.0
    assert len(queue.times_s) >= 0.95 * 60 * per_second
    assert queue.refused > per_second * 60


@pytest.mark.parametrize("servers", [1, 4])
def test_below_the_capacity_none_is_refused(servers: int) -> None:
    queue = Queue(servers, 100)
    for _ in range(5):
        queue.run(80, seconds=10)
        queue.run(1, seconds=60)
    assert queue.refused == 0


def test_a_service_that_becomes_slow_is_noticed() -> None:
    queue = Queue(4, 200)
    queue.run(600, seconds=20)
    queue._service_s *= 10
    queue.run(600, seconds=15)
    queue.times_s.clear()
    queue.run(600, seconds=30)
    assert np.quantile(queue.times_s, 0.99) <= 2.0
    assert len(queue.times_s) >= 0.95 * 30 * 20
