"""When requests are sent, and what happens while the service is unavailable.

The clock of the event loop is simulated: it jumps to the next timer, so that nothing waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

import pytest

from serve_app.traffic import availability as availabilities
from serve_app.traffic.availability import Availability
from serve_app.traffic.pace import Pace, send_all
from serve_app.traffic.service_client import HttpResponse

OK, UNAVAILABLE = HttpResponse(200, {}), HttpResponse(503, {"code": "not_ready"})


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while it waits."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout_s: float | None) -> Any:
            self._now_s += timeout_s or 0.0
            return select(0)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._now_s


def simulate(work: Coroutine[Any, Any, None]) -> float:
    """Run with a simulated clock; the seconds that passed."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(work)
        return runner.get_loop().time()


class FakeService:
    """Responds after `takes_s`; it is unavailable in some periods.

    Attributes:
        sent: The number of each request, when it was sent, and by how much it was late.
    """

    def __init__(
        self,
        takes_s: float,
        unavailable: list[tuple[float, float]] | None = None,
        response: Any = UNAVAILABLE,
    ) -> None:
        self.sent: list[tuple[int, float, float]] = []
        self._takes_s = takes_s
        self._unavailable = unavailable or []
        self._response = response

    async def run(self, requests: int, pace: Pace, stop_at_s: float | None = None) -> Availability:
        stop = asyncio.Event()
        availability = Availability(stop)
        loop = asyncio.get_running_loop()
        if stop_at_s is not None:
            loop.call_later(stop_at_s, stop.set)

        async def send(number: int, late_s: float) -> None:
            at_s = loop.time()
            self.sent.append((number, at_s, late_s))
            is_unavailable = any(start <= at_s < end for start, end in self._unavailable)
            await asyncio.sleep(0.001 if is_unavailable else self._takes_s)
            availability.record(self._response if is_unavailable else OK)

        await send_all(send, requests, pace, availability, stop)
        return availability

    def simulate(self, requests: int, pace: Pace, stop_at_s: float | None = None) -> Availability:
        found: list[Availability] = []

        async def run() -> None:
            found.append(await self.run(requests, pace, stop_at_s))

        simulate(run())
        return found[0]


def test_clients_send_when_they_have_a_response() -> None:
    service = FakeService(takes_s=1.0)
    service.simulate(9, Pace(clients=3))
    assert [round(at_s) for _, at_s, _ in service.sent] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [number for number, _, _ in service.sent] == list(range(9))


def test_with_a_rate_requests_do_not_wait_for_responses() -> None:
    service = FakeService(takes_s=60.0)
    service.simulate(20, Pace(clients=100, rate_per_s=10))
    assert [at_s for _, at_s, _ in service.sent] == pytest.approx([n / 10 for n in range(20)])
    assert all(late_s < 0.001 for _, _, late_s in service.sent)


def test_requests_that_must_wait_for_a_client_are_late() -> None:
    """Due at 10 a second, but 2 clients with responses after 1 s send 2 a second."""
    service = FakeService(takes_s=1.0)
    service.simulate(11, Pace(clients=2, rate_per_s=10))
    for number, at_s, late_s in service.sent:
        assert late_s == pytest.approx(at_s - number / 10, abs=1e-6)
    assert service.sent[-1][2] == pytest.approx(4.0, abs=0.2)


@pytest.mark.parametrize("rate_per_s", [None, 5])
def test_no_request_is_sent_after_a_stop(rate_per_s: float | None) -> None:
    service = FakeService(takes_s=0.5)
    service.simulate(1000, Pace(clients=4, rate_per_s=rate_per_s), stop_at_s=3.1)
    assert max(at_s for _, at_s, _ in service.sent) <= 3.1
    assert len(service.sent) == (28 if rate_per_s is None else 16)


@pytest.mark.parametrize("rate_per_s", [None, 20])
def test_few_requests_are_used_up_while_the_service_is_unavailable(
    rate_per_s: float | None,
) -> None:
    service = FakeService(takes_s=0.1, unavailable=[(2.0, 42.0)])
    availability = service.simulate(400, Pace(clients=8, rate_per_s=rate_per_s))
    in_vain = [at_s for _, at_s, _ in service.sent if 2 <= at_s < 42]
    assert 8 <= len(in_vain) <= 25
    assert len(service.sent) == 400
    assert (
        availability.unavailable_s == pytest.approx(42, abs=5.5) or availability.unavailable_s > 39
    )
    assert not availability.is_unavailable
    assert not availability.gave_up


def test_the_schedule_waits_while_the_service_is_unavailable() -> None:
    """What would have been due meanwhile is not sent all at once."""
    service = FakeService(takes_s=0.1, unavailable=[(2.0, 42.0)])
    service.simulate(400, Pace(clients=8, rate_per_s=20))
    times_s = [at_s for _, at_s, _ in service.sent if at_s >= 42]
    steps_s = [after - before for before, after in pairwise(times_s[1:])]
    assert min(steps_s) > 0.04


def test_retry_after_is_the_wait() -> None:
    service = FakeService(0.1, [(0.0, 12.0)], HttpResponse(503, {"code": "x"}, retry_after_s=3.0))
    service.simulate(10, Pace(clients=1))
    assert [round(at_s) for _, at_s, _ in service.sent[:6]] == [0, 3, 6, 9, 12, 12]


def test_a_service_that_does_not_come_back_ends_the_run() -> None:
    service = FakeService(takes_s=0.1, unavailable=[(1.0, 1e9)])
    availability = service.simulate(100_000, Pace(clients=4))
    assert availability.gave_up
    assert service.sent[-1][1] == pytest.approx(availabilities.GIVE_UP_S, rel=0.05)


@pytest.mark.parametrize(
    ("response", "is_unavailable"),
    [
        (HttpResponse(0, {"detail": "ClientConnectorError"}), True),
        (HttpResponse(503, {"code": "not_ready"}), True),
        (HttpResponse(404, {"detail": "Path '/v1/classify' not found."}), True),
        (HttpResponse(404, {"code": "no_such_version", "detail": "v9"}), False),
        (HttpResponse(429, {"code": "busy"}), False),
        (HttpResponse(500, {"code": "internal"}), False),
        (OK, False),
    ],
)
def test_some_responses_say_that_the_service_is_unavailable(
    response: HttpResponse, is_unavailable: bool
) -> None:
    assert response.is_unavailable is is_unavailable
