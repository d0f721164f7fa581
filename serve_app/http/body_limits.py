"""Reads request bodies, with limits on size and time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from fastapi import Request
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.errors import BadBody, BodyTooLarge, BodyTooSlow, UnsupportedMedia
from serve_app.http.problems import problem_response, trace_of

MAX_BODY_BYTES = 10 * 2**20
MAX_BODY_S = 30.0  # to receive the whole body
IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp")
FORM_TYPE = "multipart/form-data"
FORM_FIELD = "image"


class BodyLimit:
    """Middleware inside `RequestTracing`: reads the body before the application parses it or checks
    the token; rejects a body above the limits."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            body = await _read(request, self._max_bytes)
        except (BodyTooLarge, BodyTooSlow) as exc:
            await problem_response(exc, trace_of(request))(scope, receive, send)
            return
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay_body() -> Message:
            return messages.pop() if messages else await receive()

        await self._app(scope, replay_body, send)


async def read_body(request: Request, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Read the whole body.

    Raises:
        BodyTooLarge: The body has more than `max_bytes`; reading stops there.
        BodyTooSlow: The body takes longer than `MAX_BODY_S`.
        UnsupportedMedia: The body is compressed.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedMedia(
            f"Content-Encoding is {encoding[:50]}: send the body without compression"
        )
    return await _read(request, max_bytes)


async def read_image(request: Request) -> bytes:
    """Read the encoded image: the body, or the form's field `image`.

    Raises:
        UnsupportedMedia: The Content-Type is neither an image type nor a form.
        BadBody: The form is malformed or has no such field.
        BodyTooLarge, BodyTooSlow: See `read_body`.
    """
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type in IMAGE_TYPES:
        return await read_body(request)
    if media_type == FORM_TYPE:
        return await _parse_form_image(request, await read_body(request))
    raise UnsupportedMedia(
        f"Content-Type is {media_type[:50] or 'missing'}: send the image as"
        f" {', '.join(IMAGE_TYPES)}, or {FORM_TYPE} with the field '{FORM_FIELD}'"
    )


class _FormParser(MultiPartParser):
    """Records whether the form had its closing boundary."""

    is_complete = False

    def on_end(self) -> None:
        self.is_complete = True


async def _parse_form_image(request: Request, body: bytes) -> bytes:
    async def chunks() -> AsyncGenerator[bytes, None]:
        yield body
        if not parser.is_complete:  # an error in here makes the parser close its files
            raise MultiPartException("the closing boundary is missing")

    parser = _FormParser(request.headers, chunks())
    try:
        form = await parser.parse()
    except (MultiPartException, FormParserError, KeyError, ValueError) as exc:
        raise BadBody(f"the form is malformed ({exc}): send {FORM_TYPE} as in RFC 7578") from exc
    try:
        field = form.get(FORM_FIELD)
        if not isinstance(field, UploadFile):
            names = ", ".join(sorted({name[:50] for name in form})[:5]) or "none"
            raise BadBody(
                f"the form has the fields {names}: send the image as a file in the field"
                f" '{FORM_FIELD}'"
            )
        return await field.read()
    finally:
        await form.close()


async def _read(request: Request, max_bytes: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(declared, max_bytes)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(MAX_BODY_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise _too_large(f"more than {max_bytes}", max_bytes)
                chunks.append(chunk)
    except TimeoutError as exc:
        raise BodyTooSlow(
            f"received {size} bytes in {MAX_BODY_S:g} s, expected the whole body:"
            " send a smaller body"
        ) from exc
    return b"".join(chunks)


def _too_large(size: str, max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body has {size} bytes, expected at most {max_bytes}: send a smaller body"
    )
