"""When requests are sent: as fast as responses come, or at a rate."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from serve_app.traffic.availability import Availability

# Sends a request, given its number and by how many seconds it is late.
Send = Callable[[int, float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast requests are sent, and for how long.

    Attributes:
        clients: The number of requests at the same time, at most.
        rate_per_s: The rate at which requests become due, whether or not earlier ones have
            responses (an open loop); None sends the next one when a client has its response.
        duration_s: The time after which no more are sent; None for no limit.
    """

    clients: int
    rate_per_s: float | None = None
    duration_s: float | None = None


async def send_all(
    send: Send, requests: int, pace: Pace, availability: Availability, stop: asyncio.Event
) -> None:
    """Send requests 0 to `requests` - 1 in order, until `stop` is set; those sent are awaited.

    The first error of `send` ends all.
    """
    try:
        if pace.rate_per_s is None:
            await _send_closed_loop(send, requests, pace.clients, availability, stop)
        else:
            await _send_open_loop(send, requests, pace.rate_per_s, pace.clients, availability, stop)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _send_closed_loop(
    send: Send, requests: int, clients: int, availability: Availability, stop: asyncio.Event
) -> None:
    numbers = iter(range(requests))

    async def run_client() -> None:
        while not stop.is_set():
            async with availability.turn():
                if stop.is_set() or (number := next(numbers, None)) is None:
                    return
                await send(number, 0.0)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(run_client())


async def _send_open_loop(
    send: Send,
    requests: int,
    rate_per_s: float,
    at_once: int,
    availability: Availability,
    stop: asyncio.Event,
) -> None:
    """The schedule waits while the service is unavailable: the requests that were due then are not
    sent all at once."""
    loop = asyncio.get_running_loop()
    slots = asyncio.Semaphore(at_once)
    starts_s = loop.time()

    async def send_in_slot(number: int, late_s: float) -> None:
        try:
            await send(number, late_s)
        finally:
            slots.release()

    async with asyncio.TaskGroup() as group:
        for number in range(requests):
            due_s = starts_s + number / rate_per_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due_s):
                    await stop.wait()
            if availability.is_unavailable and not stop.is_set():
                unavailable_from_s = loop.time()
                async with availability.turn():
                    if not stop.is_set():
                        await send(number, 0.0)
                starts_s += loop.time() - unavailable_from_s
                continue
            await slots.acquire()
            if stop.is_set():
                return
            group.create_task(send_in_slot(number, max(loop.time() - due_s, 0.0)))
