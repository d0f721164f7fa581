"""Parses forms (multipart/form-data) as RFC 7578 lets clients write them.

A body is in memory as a whole, so one search for the delimiters of RFC 2046 (section 5.1.1) finds
all parts. What precedes the first delimiter and follows the last one is ignored. Lines may end with
LF alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from email.utils import collapse_rfc2231_value
from itertools import islice, pairwise

from serve_app.errors import BadBody

FORM_TYPE = "multipart/form-data"
MAX_PARTS = 100
MAX_HEAD_BYTES = 4096  # the headers of one part
MAX_HEADS_BYTES = 4 * MAX_HEAD_BYTES  # of all parts: the parser needs 3 microseconds per byte
MAX_SEMICOLONS = 50  # of one header: the parser of its parameters takes quadratic time
_HEAD_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form.

    Attributes:
        media_type: `text/plain` by default; in lower case, without parameters.
        transfer_encoding: In lower case; `binary` by default.
        content: As sent: in the transfer encoding.
    """

    name: str
    media_type: str
    transfer_encoding: str
    content: bytes


def parse_form(content_type: str, body: bytes) -> list[Part]:
    """Parse the parts of a form, in their order.

    Args:
        content_type: The header, which has the boundary.

    Raises:
        BadBody: The form is malformed, or has more than `MAX_PARTS` parts.
    """
    boundary = _boundary(content_type)
    text = b"\n" + body  # a delimiter begins with the line end before it
    delimiter = re.compile(rb"\n--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    matches = list(islice(delimiter.finditer(text), MAX_PARTS + 1))
    quoted = f"'--{boundary[:70].decode('latin-1')}'"
    if not matches:
        raise _malformed(f"no line is {quoted}, the boundary that Content-Type has")
    closing = next((at for at, match in enumerate(matches) if match[1]), None)
    if closing is None and len(matches) > MAX_PARTS:
        raise _malformed(f"it has more than {MAX_PARTS} parts")
    if closing is None:
        raise _malformed(f"the closing boundary {quoted[:-1]}--' is missing: send all of the form")
    carriage_return = b"\r" if text.startswith(b"\r\n", matches[0].end()) else b""
    parts = [
        _split_part(text[start.end() : end.start()].removesuffix(carriage_return))
        for start, end in pairwise(matches[: closing + 1])
    ]
    if sum(len(head) for head, _ in parts) > MAX_HEADS_BYTES:
        raise _malformed(f"the headers of its parts have more than {MAX_HEADS_BYTES} bytes")
    return [_parse_part(head, content) for head, content in parts]


def _boundary(content_type: str) -> bytes:
    header = Message()
    header["Content-Type"] = content_type
    boundary = _parameter(header, "Content-Type", "boundary")
    if not boundary:
        raise _malformed(
            "Content-Type has no boundary: let the HTTP client set Content-Type, which knows it"
        )
    return boundary.rstrip().encode("latin-1", "replace")


def _split_part(text: bytes) -> tuple[bytes, bytes]:
    """The headers and the content of a part."""
    head_end = _HEAD_END.search(text, 0, MAX_HEAD_BYTES)
    if not head_end:
        raise _malformed(
            "a part has no empty line between headers and content within its first"
            f" {MAX_HEAD_BYTES} bytes"
        )
    return text[: head_end.start()], text[head_end.end() :]


def _parse_part(head: bytes, content: bytes) -> Part:
    headers = HeaderParser().parsestr(head.decode(errors="replace").strip())
    name = _parameter(headers, "Content-Disposition", "name")
    if name is None:
        raise _malformed("a part has no header Content-Disposition with a name")
    transfer_encoding = str(headers.get("Content-Transfer-Encoding", "binary"))
    return Part(
        name,
        headers.get_content_type(),
        transfer_encoding.strip().lower(),
        content,
    )


def _parameter(headers: Message, header: str, name: str) -> str | None:
    """A parameter of a header, also in the syntax of RFC 2231; None if it is missing."""
    if str(headers.get(header, "")).count(";") > MAX_SEMICOLONS:
        raise _malformed(f"{header} has more than {MAX_SEMICOLONS} parameters")
    try:
        value = headers.get_param(name, header=header)
    except ValueError:  # a malformed parameter in the syntax of RFC 2231
        return None
    return None if value is None else collapse_rfc2231_value(value)


def _malformed(fault: str) -> BadBody:
    return BadBody(f"the form is malformed ({fault}): send {FORM_TYPE} as in RFC 7578")
