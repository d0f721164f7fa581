"""Loads that a service has to bear, each in a process of its own so that it delays no measurement.

An attack repeats its requests until its process is ended; what it gets does not matter.
"""

from __future__ import annotations

import asyncio
import io
import resource
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from PIL import Image

from benchmarks.chaos.service import URL

HOST, PORT = "127.0.0.1", 8000
TIMEOUT = aiohttp.ClientTimeout(total=120)
INFER = "/v2/models/animals/infer"
PAUSE_S = 0.05  # after an attempt that failed at once


@dataclass(frozen=True, slots=True)
class Attack:
    """Attributes:
    run: Attacks until it is cancelled.
    """

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]

    def __call__(self) -> None:
        """Run in this process."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard == resource.RLIM_INFINITY or hard > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        asyncio.run(self.run())


async def _repeat(count: int, attempt: Callable[[], Awaitable[None]]) -> None:
    async def client() -> None:
        while True:
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                await attempt()
            await asyncio.sleep(PAUSE_S)

    await asyncio.gather(*(client() for _ in range(count)))


async def _post(count: int, path: str, body: bytes, media_type: str) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(URL, timeout=TIMEOUT, connector=connector) as http:

        async def attempt() -> None:
            async with http.post(path, data=body, headers={"Content-Type": media_type}) as response:
                await response.read()

        await _repeat(count, attempt)


async def _drip(count: int, head: bytes, piece: bytes, pause_s: float) -> None:
    """Connections that send a head, then a piece again and again."""

    async def attempt() -> None:
        _, writer = await asyncio.open_connection(HOST, PORT)
        try:
            writer.write(head)
            while True:
                await writer.drain()
                await asyncio.sleep(pause_s)
                writer.write(piece)
        finally:
            writer.close()

    await _repeat(count, attempt)


async def idle() -> None:
    await _drip(4300, b"", b"", 1.0)


async def slow_bodies() -> None:
    head = b"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n"
    await _drip(520, head + b"Content-Length: 1000000\r\n\r\n", b"x", 1.0)


async def unfinished_headers() -> None:
    await _drip(400, b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 900_000, b"x", 1.0)


async def bodies_without_token() -> None:
    body = b'{"token": "' + b"x" * 2**20 + b'"}'
    await _post(300, "/control/session", body, "application/json")


async def json_bodies() -> None:
    values = b",".join([b'{"":1}'] * 1_400_000)
    head = b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":['
    await _post(16, INFER, head + values + b"]}]}", "application/json")


async def large_images() -> None:
    file = io.BytesIO()
    Image.new("RGB", (5000, 5000), (90, 120, 60)).save(file, "WEBP")
    await _post(48, "/v1/classify", file.getvalue(), "image/webp")


async def junk() -> None:
    await _post(32, "/v1/classify", b"\x89PNG\r\n\x1a\n" + bytes(10_000_000), "image/png")


async def reads() -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(URL, timeout=TIMEOUT, connector=connector) as http:
        paths = iter(("/v1/rule", "/readyz", "/v1/models", "/v1/explain") * 10**6)

        async def attempt() -> None:
            async with http.get(next(paths)) as response:
                await response.read()

        await _repeat(200, attempt)


ATTACKS = (
    Attack("4,300 connections without a byte", idle),
    Attack("520 bodies, 1 byte a second", slow_bodies),
    Attack("400 headers of 900 kB without an end", unfinished_headers),
    Attack("300 clients, 1 MiB to the sign-in", bodies_without_token),
    Attack("16 clients, 9.8 MB of JSON objects", json_bodies),
    Attack("48 clients, WebP of 5000 x 5000 px", large_images),
    Attack("32 clients, 10 MB that is no image", junk),
    Attack("200 clients that read rule and versions", reads),
)
