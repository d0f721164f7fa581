"""Clients that send images, and feedback on a tenth of the predictions, until they are stopped."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp

from benchmarks.chaos.service import URL
from serve_app.rules.plan import Reason

CLIENTS = 8
USERS = 500
FEEDBACK_SHARE = 0.1
PAUSE_S = 0.02  # of a client after a response
TIMEOUT_S = 60.0
OK = "200"
RETRY_LATER = frozenset({"429", "503"})  # statuses that say when to try again


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got.

    Attributes:
        ended_at: `time.monotonic` of the answer.
        result: The HTTP status, or how the connection failed: `refused`, `reset`, `timeout`.
        is_explained: Whether a failure is a problem (RFC 9457), with `Retry-After` if it is 429 or
            503.
        prediction_id: Of a prediction.
        is_fallback: Whether stable served a user of the candidate.
        feedback: The result of feedback on the prediction; empty if none was sent.
    """

    ended_at: float
    result: str
    is_explained: bool = False
    prediction_id: str = ""
    is_fallback: bool = False
    feedback: str = ""

    @property
    def has_connection(self) -> bool:
        """Whether there was a response."""
        return self.result.isdecimal()


class Load:
    """Sends requests from `CLIENTS` clients while the context is open."""

    def __init__(self, images: Sequence[bytes], seed: int) -> None:
        self.answers: list[Answer] = []
        self._images = images
        self._seed = seed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        async with aiohttp.ClientSession(
            URL, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
        ) as http:
            clients = (self._run_client(http, (self._seed, client)) for client in range(CLIENTS))
            await asyncio.gather(*clients)

    async def _run_client(self, http: aiohttp.ClientSession, seed: tuple[int, int]) -> None:
        rng = random.Random(str(seed))  # noqa: S311 no secret
        while not self._stop.is_set():
            user = f"user-{rng.randrange(USERS)}"
            wants_feedback = rng.random() < FEEDBACK_SHARE
            self.answers.append(await _ask(http, rng.choice(self._images), user, wants_feedback))
            await asyncio.sleep(PAUSE_S)


async def _ask(
    http: aiohttp.ClientSession, image: bytes, user: str, wants_feedback: bool
) -> Answer:
    headers = {"Content-Type": "image/png", "X-User-Id": user}
    try:
        async with http.post("/v1/classify", data=image, headers=headers) as response:
            result, ended_at = str(response.status), time.monotonic()
            if result != OK:
                return Answer(ended_at, result, _is_explained(response))
            body = await response.json()
    except (aiohttp.ClientError, TimeoutError, OSError) as exc:
        return Answer(time.monotonic(), name_failure(exc))
    prediction_id = body["prediction_id"]
    return Answer(
        ended_at,
        result,
        prediction_id=prediction_id,
        is_fallback=body["reason"] == Reason.FALLBACK,
        feedback=await _send_feedback(http, prediction_id) if wants_feedback else "",
    )


async def _send_feedback(http: aiohttp.ClientSession, prediction_id: str) -> str:
    body = {"prediction_id": prediction_id, "complaint": False}
    try:
        async with http.post("/v1/feedback", json=body) as response:
            return str(response.status)
    except (aiohttp.ClientError, TimeoutError, OSError) as exc:
        return name_failure(exc)


def _is_explained(response: aiohttp.ClientResponse) -> bool:
    says_when = str(response.status) not in RETRY_LATER or "Retry-After" in response.headers
    return says_when and response.content_type == "application/problem+json"


def name_failure(error: Exception) -> str:
    """How a connection failed: `refused`, `reset` or `timeout`."""
    if isinstance(error, TimeoutError):
        return "timeout"
    return "refused" if isinstance(error, aiohttp.ClientConnectorError) else "reset"
