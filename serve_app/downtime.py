"""Measures the downtime of a service as a client sees it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx

from serve_app.clock import now_ms

INTERVAL_S = 0.05
TIMEOUT_S = 10.0  # readiness may take as long on a busy machine
STEADY_MS = 1000  # without a failure, before the service counts as back


@dataclass(frozen=True, slots=True)
class Downtime:
    """From the last success before the first failure to the first success after the last failure.

    Attributes:
        from_ms, to_ms: Milliseconds since 1970 UTC.
    """

    from_ms: int
    to_ms: int

    @property
    def seconds(self) -> float:
        return (self.to_ms - self.from_ms) / 1000


class DowntimeProbe:
    """Requests `/readyz` every 50 ms."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._last_success_ms = now_ms()
        self._from_ms: int | None = None
        self._to_ms: int | None = None

    @property
    def is_back(self) -> bool:
        """Whether the service was down and has been ready for `STEADY_MS` since."""
        return self._to_ms is not None and now_ms() - self._to_ms >= STEADY_MS

    @property
    def downtime(self) -> Downtime | None:
        """The downtime; None if the service was never down, or still is."""
        if self._from_ms is None or self._to_ms is None:
            return None
        return Downtime(self._from_ms, self._to_ms)

    async def run(self) -> None:
        """Probe until cancelled."""
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as http:
            while True:
                sent_ms = now_ms()
                if await self._is_ready(http):
                    self._last_success_ms = sent_ms
                    if self._from_ms is not None and self._to_ms is None:
                        self._to_ms = now_ms()
                else:
                    if self._from_ms is None:
                        self._from_ms = self._last_success_ms
                    self._to_ms = None
                await asyncio.sleep(INTERVAL_S)

    async def _is_ready(self, http: httpx.AsyncClient) -> bool:
        try:
            return (await http.get(f"{self._url}/readyz")).is_success
        except httpx.HTTPError:
            return False
