"""Measures the downtime of a service as a client sees it."""

from __future__ import annotations

import asyncio
from typing import Protocol

import httpx

from serve_app import refused_requests
from serve_app.clock import now_ms

INTERVAL_S = 0.05
TIMEOUT_S = 10.0  # readiness may take as long on a busy machine
STEADY_MS = 1000  # without a failure, before the service counts as back


class Probe(Protocol):
    """Measures one downtime: from the last success before the first failure to the first success
    after the last failure.

    Attributes:
        down_from_ms: Milliseconds since 1970 UTC; None before the first failure.
        down_to_ms: Milliseconds since 1970 UTC; None while the service is down.
        is_back: The service was down and has been ready for `STEADY_MS` since.
        refused_requests: How many requests of clients were refused with 503 since the probe was
            created; None if that is not known.
    """

    @property
    def down_from_ms(self) -> int | None: ...
    @property
    def down_to_ms(self) -> int | None: ...
    @property
    def is_back(self) -> bool: ...
    @property
    def refused_requests(self) -> int | None: ...

    async def run(self) -> None:
        """Probe until cancelled."""


class DowntimeProbe:
    """Requests `/readyz` every 50 ms."""

    def __init__(
        self, url: str, down_from_ms: int | None = None, last_success_ms: int | None = None
    ) -> None:
        """
        Args:
            url: The URL of the service.
            down_from_ms: When the service went down, if it is known to be down.
            last_success_ms: When it was last known to be ready; by default now.
        """
        self._url = url
        self._last_success_ms = last_success_ms or now_ms()
        self._from_ms = down_from_ms
        self._to_ms: int | None = None
        self._refused_before = refused_requests.count()

    @property
    def down_from_ms(self) -> int | None:
        return self._from_ms

    @property
    def down_to_ms(self) -> int | None:
        return self._to_ms if self._from_ms is not None else None

    @property
    def is_back(self) -> bool:
        return self._to_ms is not None and now_ms() - self._to_ms >= STEADY_MS

    @property
    def refused_requests(self) -> int | None:
        refused = refused_requests.count()
        if refused is None or self._refused_before is None:
            return None
        return refused - self._refused_before

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
