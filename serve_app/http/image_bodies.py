"""Reads the encoded image of a request: the body, or the field of a form.

The bytes say which format an image has. The declared media type only says whether the body may be
an image: many clients send an alias, a wrong type, or none.
"""

from __future__ import annotations

import re

from fastapi import Request

from serve_app.errors import BadBody, UnsupportedMedia
from serve_app.http.base64_text import decode_base64
from serve_app.http.body_limits import read_body
from serve_app.http.forms import FORM_TYPE, Part, parse_form
from serve_app.http.large_bodies import process

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp")
BINARY_TYPE = "application/octet-stream"
FORM_FIELD = "image"
ACCEPT = ", ".join((*IMAGE_TYPES, BINARY_TYPE, FORM_TYPE))

_URLENCODED = "application/x-www-form-urlencoded"
# What clients declare for an image, or for bytes of which they know nothing.
_MAY_BE_IMAGE = re.compile(
    r"(image/.*|\*/\*|(application|binary)/(x-)?"
    r"(octet-stream|binary|unknown|jpe?g|png|webp|gif|bmp|win-bitmap))?"
)
_PLAIN_ENCODINGS = ("", "7bit", "8bit", "binary")


async def read_image(request: Request) -> bytes:
    """Read the encoded image: the body, or the form's field `image`.

    Raises:
        UnsupportedMedia: The Content-Type says that the body is neither an image nor a form.
        BadBody: The form is malformed, or does not have exactly one such field.
        BodyTooLarge, BodyTooSlow: See `read_body`.
    """
    content_type = request.headers.get("content-type", "")
    media_type = content_type.split(";")[0].strip().lower()
    if media_type == FORM_TYPE:
        return await _form_image(parse_form(content_type, await read_body(request)))
    if _MAY_BE_IMAGE.fullmatch(media_type):
        return await read_body(request)
    hint = (
        "; curl sends this type unless it has -H 'Content-Type: image/png'"
        if media_type == _URLENCODED
        else ""
    )
    raise UnsupportedMedia(
        f"Content-Type is {media_type[:50]}{hint}: send the image as {', '.join(IMAGE_TYPES)} or"
        f" {BINARY_TYPE}, or {FORM_TYPE} with the field '{FORM_FIELD}'",
        {"Accept": ACCEPT},
    )


async def _form_image(parts: list[Part]) -> bytes:
    fields = [part for part in parts if part.name == FORM_FIELD]
    # Browsers send an empty field for a control without a file.
    images = [part for part in fields if part.content] or fields[:1]
    if not images:
        names = ", ".join(sorted({part.name[:50] for part in parts})[:5]) or "none"
        raise BadBody(
            f"the form has the fields {names}: send the image as a file in the field '{FORM_FIELD}'"
        )
    if len(images) > 1:
        raise BadBody(
            f"the form has {len(images)} fields '{FORM_FIELD}', expected one: send one request per"
            " image, or up to 64 images to /v2"
        )
    image = images[0]
    if image.media_type.startswith("multipart/"):
        raise BadBody(
            f"the field '{FORM_FIELD}' is {image.media_type[:50]}, several files in one: send one"
            " image"
        )
    return await _decode(image)


async def _decode(part: Part) -> bytes:
    if part.transfer_encoding in _PLAIN_ENCODINGS:
        return part.content
    if part.transfer_encoding != "base64":
        raise BadBody(
            f"Content-Transfer-Encoding of the field '{part.name}' is"
            f" {part.transfer_encoding[:50]}: send the bytes unchanged (binary), or base64"
        )
    try:
        return await process(len(part.content), decode_base64, part.content.decode("latin-1"))
    except ValueError as exc:
        raise BadBody(f"the field '{part.name}' is not base64: {exc}") from exc
