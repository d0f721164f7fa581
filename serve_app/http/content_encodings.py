"""Content codings of request bodies (RFC 9110, section 8.4.1): gzip and deflate.

Nothing is unpacked beyond the limit of the body.
"""

from __future__ import annotations

import zlib

from serve_app.errors import BadBody, BodyTooLarge, UnsupportedMedia

ACCEPT_ENCODING = "gzip, deflate, identity"
MAX_CODINGS = 3  # of one body
MAX_MEMBERS = 1000  # of one gzip body
_CHUNK_BYTES = 2**14  # of input; zlib copies the rest of a chunk when a member ends


def codings(content_encoding: str) -> list[str]:
    """The codings of a header `Content-Encoding`, in the order in which they were applied.

    Returns:
        Only `gzip` and `deflate`; empty if the body has no coding.

    Raises:
        UnsupportedMedia: A coding is unknown, or there are more than `MAX_CODINGS`.
    """
    names = [name.strip().lower() for name in content_encoding.split(",")]
    applied = [
        "gzip" if name == "x-gzip" else name for name in names if name not in ("", "identity")
    ]
    if set(applied) <= {"gzip", "deflate"} and len(applied) <= MAX_CODINGS:
        return applied
    raise UnsupportedMedia(
        f"Content-Encoding is {content_encoding[:50]}: send gzip or deflate, or send the body"
        " without compression and omit the header",
        {"Accept-Encoding": ACCEPT_ENCODING},
    )


def decode(body: bytes, applied: list[str], max_bytes: int) -> bytes:
    """Undo the codings of a body.

    Args:
        applied: See `codings`.
        max_bytes: Of the result of each coding.

    Raises:
        BadBody: The body does not have the coding, or is incomplete.
        BodyTooLarge: The body unpacks to more than `max_bytes`; unpacking stops there.
    """
    for coding in reversed(applied):
        try:
            body = _gunzip(body, max_bytes) if coding == "gzip" else _inflate(body, max_bytes)
        except zlib.error as exc:
            raise BadBody(
                f"Content-Encoding says {coding}, but the body is not valid {coding} ({exc}):"
                " send the output of the compressor unchanged, or omit the header"
            ) from exc
    return body


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    """Unpack all members (RFC 1952); zeros may follow the last one, as `gzip` accepts them."""
    unpacked = bytearray()
    start = 0
    for _ in range(MAX_MEMBERS):
        start = _unpack(body, start, zlib.MAX_WBITS | 16, "gzip", unpacked, max_bytes)
        if body[start : start + 1] in (b"", b"\0") and not body[start:].strip(b"\0"):
            return bytes(unpacked)
    raise BadBody(
        f"the gzip body has more than {MAX_MEMBERS} members: compress the body as a whole"
    )


def _inflate(body: bytes, max_bytes: int) -> bytes:
    """Unpack the zlib format, or raw deflate, which some clients send instead."""
    unpacked = bytearray()
    wbits = zlib.MAX_WBITS if _has_zlib_header(body) else -zlib.MAX_WBITS
    end = _unpack(body, 0, wbits, "deflate", unpacked, max_bytes)
    if end < len(body):
        raise BadBody(
            f"{len(body) - end} bytes follow the end of the deflate body: send only its output"
        )
    return bytes(unpacked)


def _has_zlib_header(body: bytes) -> bool:
    """RFC 1950: the method is 8, and both bytes together are a multiple of 31."""
    return len(body) >= 2 and body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0


def _unpack(
    body: bytes, start: int, wbits: int, coding: str, unpacked: bytearray, max_bytes: int
) -> int:
    """Append one compressed stream to `unpacked`.

    Returns:
        Where the stream ends in the body.
    """
    stream = zlib.decompressobj(wbits)
    while start < len(body):
        chunk = body[start : start + _CHUNK_BYTES]
        unpacked += stream.decompress(chunk, max_bytes - len(unpacked) + 1)
        if len(unpacked) > max_bytes:
            raise BodyTooLarge(
                f"the {coding} body of {len(body)} bytes unpacks to more than {max_bytes} bytes,"
                " which is the limit: send a smaller body"
            )
        start += len(chunk)
        if stream.eof:
            return start - len(stream.unused_data)
    raise BadBody(f"the {coding} body ends before its last byte: send it whole")
