"""Reading what was sent, within limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from fastapi import Request
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.errors import BadBody, BodyTooLarge, BodyTooSlow, UnsupportedMedia
from serve_app.http.problems import respond, trace_of

MAX_BODY_BYTES = 10 * 2**20
MAX_BODY_S = 30.0  # until all of it is there
IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp")
FORM_TYPE = "multipart/form-data"
FORM_FIELD = "image"


class BodyLimit:
    """Middleware, within `RequestTracing`: reads a body, or rejects one above a limit, before the
    application parses it or asks for a token."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            body = await _read(request, self._most_bytes)
        except (BodyTooLarge, BodyTooSlow) as exc:
            await respond(exc, trace_of(request))(scope, receive, send)
            return
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return unread.pop() if unread else await receive()

        await self._app(scope, again, send)


async def read_body(request: Request, most_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The whole body.

    Raises:
        BodyTooLarge: Above the limit; no more than that is read.
        BodyTooSlow: It takes too long.
        UnsupportedMedia: It is compressed.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedMedia(
            f"Content-Encoding is {encoding[:50]}: send the body as it is, without compression"
        )
    return await _read(request, most_bytes)


async def read_image(request: Request) -> bytes:
    """The encoded image of a request: its body, or the field `image` of its form.

    Raises:
        UnsupportedMedia: Another type.
        BadBody: The form is broken, or has no such field.
        BodyTooLarge, BodyTooSlow: See `read_body`.
    """
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type in IMAGE_TYPES:
        return await read_body(request)
    if media_type == FORM_TYPE:
        return await _image_of_form(request, await read_body(request))
    raise UnsupportedMedia(
        f"Content-Type is {media_type[:50] or 'missing'}: send the image itself as"
        f" {', '.join(IMAGE_TYPES)}, or {FORM_TYPE} with the field '{FORM_FIELD}'"
    )


class _Form(MultiPartParser):
    """Knows whether its closing boundary came."""

    is_whole = False

    def on_end(self) -> None:
        self.is_whole = True


async def _image_of_form(request: Request, body: bytes) -> bytes:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body
        if not parser.is_whole:  # raised in here, it has the parser close its files
            raise MultiPartException("its closing boundary is missing")

    parser = _Form(request.headers, whole())
    try:
        form = await parser.parse()
    except (MultiPartException, FormParserError, KeyError, ValueError) as exc:
        raise BadBody(f"the form cannot be read ({exc}): send {FORM_TYPE} as in RFC 7578") from exc
    try:
        field = form.get(FORM_FIELD)
        if not isinstance(field, UploadFile):
            names = ", ".join(sorted({name[:50] for name in form})[:5]) or "none"
            raise BadBody(
                f"the form has the fields {names}: send the image as a file in '{FORM_FIELD}'"
            )
        return await field.read()
    finally:
        await form.close()


async def _read(request: Request, most_bytes: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most_bytes:
        raise _too_large(f"{declared} bytes are announced", most_bytes)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(MAX_BODY_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > most_bytes:
                    raise _too_large(f"more than {most_bytes} bytes came", most_bytes)
                chunks.append(chunk)
    except TimeoutError as exc:
        raise BodyTooSlow(
            f"after {MAX_BODY_S:g} s {size} bytes had come, and not the end: send a smaller body"
        ) from exc
    return b"".join(chunks)


def _too_large(what: str, most_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"{what}; at most {most_bytes} are read: send a smaller body")
