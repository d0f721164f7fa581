"""Clients that send requests and feedback continuously while a test changes the service."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp
import httpx

URL = "http://127.0.0.1:8000/v1/classify"
PAUSE_AFTER_FAILURE_S = 0.02
FEEDBACK_STRIDE = 4  # every fourth request gets feedback


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request and its response.

    Attributes:
        started_at, ended_at: Seconds since 1970, UTC.
        status: The HTTP status; 0 if no response came.
        body: The JSON object of the response; empty if it is none.
    """

    started_at: float
    ended_at: float
    status: int
    user: str
    image: str
    body: dict[str, Any]

    @property
    def version_and_reason(self) -> tuple[str | None, str | None]:
        """The version that served the request, and the reason."""
        return self.body.get("version"), self.body.get("reason")


class Load:
    """Sends classify requests from `clients` concurrent clients until the context ends.

    Each client waits `pause_s` after a response.
    """

    def __init__(
        self,
        images: Mapping[str, bytes],
        clients: int = 8,
        users: int = 500,
        pause_s: float = 0.0,
        **headers: str,
    ) -> None:
        self.requests: list[SentRequest] = []
        self._images = list(images.items())
        self._clients = clients
        self._users = users
        self._pause_s = pause_s
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self._stop = threading.Event()
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
        self._stop.set()
        self._thread.join()

    @property
    def failed(self) -> list[SentRequest]:
        """The requests without a status of 200."""
        return [request for request in self.requests if request.status != 200]

    def wait_for(self, count: int, *accepted: tuple[str, str]) -> list[SentRequest]:
        """Wait for new requests and return them.

        Args:
            accepted: (version, reason) pairs of the requests to count; by default all.
        """
        start = len(self.requests)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            found = [
                request
                for request in self.requests[start:]
                if not accepted or request.version_and_reason in accepted
            ]
            if len(found) >= count:
                return found
            time.sleep(0.05)
        counts = Counter(request.version_and_reason for request in self.requests)
        raise AssertionError(f"fewer than {count} requests of {accepted}: {counts}")

    async def _run(self) -> None:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=40)
        ) as http:
            await asyncio.gather(*(self._run_client(http, seed) for seed in range(self._clients)))

    async def _run_client(self, http: aiohttp.ClientSession, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 no secret
        while not self._stop.is_set():
            user = f"user-{rng.randrange(self._users)}"
            name, data = rng.choice(self._images)
            headers = {"Content-Type": "image/png", "X-User-Id": user, **self._headers}
            started_at = time.time()
            try:
                async with http.post(URL, data=data, headers=headers) as response:
                    status, text = response.status, await response.text()
            except (aiohttp.ClientError, TimeoutError) as exc:
                status, text = 0, repr(exc)
            self.requests.append(
                SentRequest(started_at, time.time(), status, user, name, _parse_body(text))
            )
            await asyncio.sleep(self._pause_s if status == 200 else PAUSE_AFTER_FAILURE_S)


class FeedbackSender:
    """Sends feedback on every fourth request of a load until the context ends.

    Attributes:
        sent: The number of feedback requests.
        acknowledged: The prediction ids whose feedback was accepted.
    """

    def __init__(self, url: httpx.URL, requests: list[SentRequest]) -> None:
        self.sent = 0
        self.acknowledged: list[str] = []
        self._url = url
        self._requests = requests
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> FeedbackSender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as http:
            for request in self._next_requests():
                body = {"prediction_id": request.body["prediction_id"], "complaint": False}
                self.sent += 1
                try:
                    is_accepted = http.post("/v1/feedback", json=body).status_code == 200
                except httpx.HTTPError:
                    continue
                if is_accepted:
                    self.acknowledged.append(body["prediction_id"])

    def _next_requests(self) -> Iterator[SentRequest]:
        index = 0
        while not self._stop.wait(0.02):
            while index < len(self._requests) and not self._stop.is_set():
                if self._requests[index].status == 200:
                    yield self._requests[index]
                index += FEEDBACK_STRIDE


def _parse_body(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        content = {}
    return content if isinstance(content, dict) else {}
