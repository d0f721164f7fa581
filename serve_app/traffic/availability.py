"""Holds requests back while the service is away, so that a run does not use them up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from serve_app.traffic.service_client import HttpResponse

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 5.0
LONGEST_RETRY_AFTER_S = 30.0
GIVE_UP_S = 300.0


class Availability:
    """While the service is away, one request at a time tries it, after `Retry-After` or a wait
    that doubles.

    Args:
        stop: Set when no more requests are to be sent; it ends a wait. It is set after `GIVE_UP_S`
            without the service.

    Attributes:
        away_s: The time that the service was away.
        gave_up: Whether the service did not come back.
    """

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._try = asyncio.Lock()
        self._wait_s = 0.0
        self._away_since_s: float | None = None
        self._ended_s = 0.0
        self.gave_up = False

    @property
    def is_away(self) -> bool:
        return self._away_since_s is not None

    @property
    def away_s(self) -> float:
        if self._away_since_s is None:
            return self._ended_s
        return self._ended_s + asyncio.get_running_loop().time() - self._away_since_s

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """The turn of a request: at once, or alone after a wait while the service is away."""
        if self.is_away:
            async with self._try:
                if self.is_away:
                    await self._wait()
                    yield
                    return
        yield

    def record(self, response: HttpResponse) -> None:
        """Record the response to a request."""
        now_s = asyncio.get_running_loop().time()
        if not response.is_away:
            self._ended_s, self._away_since_s, self._wait_s = self.away_s, None, 0.0
            return
        if self._away_since_s is None:
            self._away_since_s = now_s
        if response.retry_after_s is None:
            self._wait_s = min(max(FIRST_WAIT_S, 2 * self._wait_s), LONGEST_WAIT_S)
        else:
            self._wait_s = min(max(FIRST_WAIT_S, response.retry_after_s), LONGEST_RETRY_AFTER_S)
        if now_s - self._away_since_s >= GIVE_UP_S:
            self.gave_up = True
            self._stop.set()

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s):
                await self._stop.wait()
