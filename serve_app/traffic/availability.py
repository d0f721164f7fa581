"""Holds requests back while the service is unavailable, so that a run does not use them up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from serve_app.traffic.service_client import HttpResponse

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 5.0
LONGEST_RETRY_AFTER_S = 30.0
GIVE_UP_S = 300.0


class Availability:
    """While the service is unavailable, one request at a time tries it, after `Retry-After` or a
    wait that doubles.

    Args:
        stop: Set when no more requests are to be sent; it ends a wait. It is set after `GIVE_UP_S`
            without the service.

    Attributes:
        unavailable_s: The time that the service was unavailable.
        gave_up: Whether the service did not come back.
    """

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._try = asyncio.Lock()
        self._wait_s = 0.0
        self._unavailable_since_s: float | None = None
        self._ended_s = 0.0
        self.gave_up = False

    @property
    def is_unavailable(self) -> bool:
        return self._unavailable_since_s is not None

    @property
    def unavailable_s(self) -> float:
        if self._unavailable_since_s is None:
            return self._ended_s
        return self._ended_s + asyncio.get_running_loop().time() - self._unavailable_since_s

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """The turn of a request: at once; alone, after a wait, while the service is unavailable."""
        if self.is_unavailable:
            async with self._try:
                if self.is_unavailable:
                    await self._wait()
                    yield
                    return
        yield

    def record(self, response: HttpResponse) -> None:
        """Record the response to a request."""
        now_s = asyncio.get_running_loop().time()
        if not response.is_unavailable:
            self._ended_s, self._unavailable_since_s, self._wait_s = self.unavailable_s, None, 0.0
            return
        if self._unavailable_since_s is None:
            self._unavailable_since_s = now_s
        if response.retry_after_s is None:
            self._wait_s = min(max(FIRST_WAIT_S, 2 * self._wait_s), LONGEST_WAIT_S)
        else:
            self._wait_s = min(max(FIRST_WAIT_S, response.retry_after_s), LONGEST_RETRY_AFTER_S)
        if now_s - self._unavailable_since_s >= GIVE_UP_S:
            self.gave_up = True
            self._stop.set()

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s):
                await self._stop.wait()
