"""Reads request bodies, with limits on size, time and rate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.errors import BodyTooLarge, BodyTooSlow, Problem
from serve_app.http.content_encodings import codings, decode
from serve_app.http.large_bodies import process
from serve_app.http.problems import problem_response, trace_of

MAX_BODY_BYTES = 10 * 2**20
MAX_BODY_S = 30.0  # to receive the whole body
# In each window: a client that sends less occupies one of the few places.
MIN_BYTES_PER_S = 1024
WINDOW_S = 10.0


class BodyLimit:
    """Middleware inside `RequestTracing`: reads the body before the application parses it or checks
    the token; rejects a body above the limits, and undoes its content codings."""

    def __init__(self, app: ASGIApp, max_bytes: Callable[[Request], int]) -> None:
        """
        Args:
            max_bytes: The limit for a request; it may raise a `Problem` instead.
        """
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            body = await read_body(request, self._max_bytes(request))
        except Problem as exc:
            await problem_response(exc, trace_of(request))(scope, receive, send)
            return
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay_body() -> Message:
            return messages.pop() if messages else await receive()

        await self._app(_without_codings(scope, body), replay_body, send)


async def read_body(request: Request, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Read the whole body, and undo its content codings.

    Args:
        max_bytes: Of the body as it is sent, and of what it unpacks to.

    Raises:
        BodyTooLarge: The body has more than `max_bytes`; reading and unpacking stop there.
        BodyTooSlow: The body takes longer than `MAX_BODY_S`, or less than `MIN_BYTES_PER_S` arrives
            in `WINDOW_S`.
        UnsupportedMedia, BadBody: See `content_encodings`.
    """
    applied = codings(",".join(request.headers.getlist("content-encoding")))
    body = await _read(request, max_bytes)
    if not applied:
        return body
    return await process(max_bytes, decode, body, applied, max_bytes)


async def _read(request: Request, max_bytes: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > max_bytes:
        raise _too_large(declared[:20], max_bytes)
    chunks: list[bytes] = []
    size = counted = 0
    now = asyncio.get_running_loop().time
    started = now()
    try:
        async with asyncio.timeout(min(WINDOW_S, MAX_BODY_S)) as deadline:
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise _too_large(f"more than {max_bytes}", max_bytes)
                chunks.append(chunk)
                if size - counted >= MIN_BYTES_PER_S * WINDOW_S:  # the next window begins
                    counted = size
                    deadline.reschedule(min(now() + WINDOW_S, started + MAX_BODY_S))
    except TimeoutError as exc:
        raise BodyTooSlow(
            f"received {size} bytes in {now() - started:.3g} s, expected the whole body within"
            f" {MAX_BODY_S:g} s and at least {MIN_BYTES_PER_S} bytes/s in each {WINDOW_S:g} s:"
            " send faster, or a smaller body"
        ) from exc
    return b"".join(chunks)


def _without_codings(scope: Scope, body: bytes) -> Scope:
    """The scope of the request with the unpacked body."""
    headers = MutableHeaders(raw=list(scope["headers"]))
    if "content-encoding" not in headers:
        return scope
    del headers["content-encoding"]
    headers["content-length"] = str(len(body))
    return {**scope, "headers": headers.raw}


def _too_large(size: str, max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body has {size} bytes, expected at most {max_bytes}: send a smaller body"
    )
