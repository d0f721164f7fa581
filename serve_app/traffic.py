"""A bounded stream of requests from invented users."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp

from models.drawings import LABELS, draw
from models.samples import class_folders
from serve_app.client import media_type

DRAWINGS_A_LABEL = 20
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture and what it shows."""

    data: bytes
    media_type: str
    truth: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    Attributes:
        status: HTTP's; 0 when nothing answered.
        answer: The JSON that came.
    """

    status: int
    latency_ms: float
    truth: str
    region: str
    answer: dict[str, Any]


def drawings(seed: int) -> list[Picture]:
    """Some of each label."""
    pictures = []
    for label in LABELS:
        for number in range(DRAWINGS_A_LABEL):
            content = BytesIO()
            draw(label, seed * DRAWINGS_A_LABEL + number).save(content, "PNG")
            pictures.append(Picture(content.getvalue(), "image/png", label))
    return pictures


def photographs(folder: Path) -> list[Picture]:
    """Every photograph of a folder per class.

    Raises:
        BadData: It is not such a folder.
    """
    return [
        Picture(path.read_bytes(), media_type(path), label)
        for label in class_folders(folder)
        for path in sorted((folder / label).iterdir())
        if path.is_file() and not path.name.startswith(".")
    ]


async def send(
    url: str,
    pictures: Sequence[Picture],
    *,
    requests: int,
    clients: int,
    users: int,
    regions: Sequence[str],
    seed: int,
    progress: Callable[[], object],
) -> list[Outcome]:
    """Send requests from `clients` at once, each as soon as its last was answered.

    Users and pictures are drawn at random; a user lives in one region.
    """
    planned = _planned(pictures, requests, users, regions, random.Random(seed))  # noqa: S311 no secret
    outcomes: list[Outcome] = []

    async def client(http: aiohttp.ClientSession) -> None:
        for picture, user, region in planned:
            outcomes.append(await _ask(http, f"{url}/v1/classify", picture, user, region))
            progress()

    # aiohttp, for httpx's pool grows slow with the number of connections.
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=clients),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
    ) as http:
        await asyncio.gather(*(client(http) for _ in range(clients)))
    return outcomes


def _planned(
    pictures: Sequence[Picture],
    requests: int,
    users: int,
    regions: Sequence[str],
    chance: random.Random,
) -> Iterator[tuple[Picture, str, str]]:
    home = [chance.choice(regions) for _ in range(users)]
    for _ in range(requests):
        user = chance.randrange(users)
        yield chance.choice(pictures), f"user-{user}", home[user]


async def _ask(
    http: aiohttp.ClientSession, url: str, picture: Picture, user: str, region: str
) -> Outcome:
    headers = {"Content-Type": picture.media_type, "X-User-Id": user, "X-Region": region}
    started = time.perf_counter()
    try:
        async with http.post(url, data=picture.data, headers=headers) as response:
            status, answer = response.status, _content(await response.text())
    except (aiohttp.ClientError, TimeoutError) as exc:
        status, answer = 0, {"detail": f"{type(exc).__name__} {exc}".strip()}
    latency_ms = 1000 * (time.perf_counter() - started)
    return Outcome(status, latency_ms, picture.truth, region, answer)


def _content(text: str) -> dict[str, Any]:
    """The JSON object that came; the text, as a problem's detail, when it is none."""
    try:
        content = json.loads(text)
    except ValueError:  # such as the proxy's own answers
        content = None
    return content if isinstance(content, dict) else {"detail": text[:100]}
