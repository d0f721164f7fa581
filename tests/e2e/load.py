"""Clients that ask all the time while something happens to the service."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp

URL = "http://127.0.0.1:8000/v1/classify"
FAILED_PAUSE_S = 0.02  # before a client asks again that was not answered


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; times are seconds since 1970 UTC."""

    began: float
    ended: float
    status: int
    user: str
    image: str
    answer: dict[str, Any]

    @property
    def given(self) -> tuple[str | None, str | None]:
        """Its version and the reason."""
        return self.answer.get("version"), self.answer.get("reason")


class Load:
    """Asks from `clients` at once, each `pause_s` after it was answered, until it is left."""

    def __init__(
        self,
        images: Mapping[str, bytes],
        clients: int = 8,
        users: int = 500,
        pause_s: float = 0.0,
        **headers: str,
    ) -> None:
        self.asked: list[Asked] = []
        self._images = list(images.items())
        self._clients = clients
        self._users = users
        self._pause_s = pause_s
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def failed(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.status != 200]

    def wait_for(self, requests: int, *given: tuple[str, str]) -> list[Asked]:
        """The next requests, of those that were given a (version, reason) if any is named."""
        start = len(self.asked)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            new = [a for a in self.asked[start:] if not given or a.given in given]
            if len(new) >= requests:
                return new
            time.sleep(0.05)
        raise AssertionError(f"not {requests} of {given}: {Counter(a.given for a in self.asked)}")

    async def _run(self) -> None:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=40)
        ) as http:
            await asyncio.gather(*(self._client(http, seed) for seed in range(self._clients)))

    async def _client(self, http: aiohttp.ClientSession, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 no secret
        while not self._ended.is_set():
            user = f"user-{chance.randrange(self._users)}"
            name, data = chance.choice(self._images)
            headers = {"Content-Type": "image/png", "X-User-Id": user, **self._headers}
            began = time.time()
            try:
                async with http.post(URL, data=data, headers=headers) as response:
                    status, text = response.status, await response.text()
            except (aiohttp.ClientError, TimeoutError) as exc:
                status, text = 0, repr(exc)
            self.asked.append(Asked(began, time.time(), status, user, name, _content(text)))
            await asyncio.sleep(self._pause_s if status == 200 else FAILED_PAUSE_S)


def _content(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        content = {}
    return content if isinstance(content, dict) else {}
