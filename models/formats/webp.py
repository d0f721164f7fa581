"""Reads the chunks of a WebP (RFC 9649)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from models.formats.orientation import read_orientation
from models.formats.parts import (
    MAX_CHUNKS,
    Parts,
    check_size,
    damaged,
    ends_early,
    too_many_blocks,
)

SIGNATURE: Final = b"RIFF"
FORM: Final = b"WEBP"  # at byte 8

_CHUNK = struct.Struct("<4sI")
_ANIMATED = 0x02
_KEPT_FLAGS = 0x12  # transparency and animation, without metadata
_IMAGES = (b"VP8 ", b"VP8L", b"ANMF")
_MAX_EDGE_BITS = 0x3FFF


def read_parts(data: bytes) -> Parts:
    """Keep the first frame and its transparency.

    Raises:
        BadImage: One of its subclasses; see `models.errors`.
    """
    canvas: tuple[int, int] | None = None
    kept: list[bytes] = []
    exif = xmp = None
    has_frame = False
    for kind, start, end in _chunks(data):
        if kind == b"EXIF":
            exif = exif or data[start:end]
        elif kind == b"XMP ":
            xmp = xmp or data[start:end]
        elif has_frame:
            continue
        elif kind == b"VP8X" and canvas is None and not kept:
            canvas, header = _read_canvas(data, start, end)
            kept.append(header)
        elif kind in _IMAGES:
            if kind != b"ANMF":
                size = _frame_size(kind, data[start : start + 10])
                check_size("WEBP", *size)
                canvas = canvas or size
            kept.append(_chunk(kind, data[start:end]))
            has_frame = True
        elif kind in (b"ALPH", b"ANIM"):
            kept.append(_chunk(kind, data[start:end]))
    if canvas is None or not has_frame:
        raise ends_early("WEBP", data, "the end of its image")
    content = FORM + b"".join(kept)
    width, height = canvas
    file = _CHUNK.pack(SIGNATURE, len(content)) + content
    return Parts("WEBP", file, width, height, read_orientation(exif, xmp), width * height)


def _read_canvas(data: bytes, start: int, end: int) -> tuple[tuple[int, int], bytes]:
    """The size of the canvas, px, and a `VP8X` chunk without the flags of metadata."""
    if end - start < 10:
        raise damaged("WEBP", f"its VP8X chunk has {end - start} of 10 bytes")
    width = 1 + int.from_bytes(data[start + 4 : start + 7], "little")
    height = 1 + int.from_bytes(data[start + 7 : start + 10], "little")
    check_size("WEBP", width, height)
    flags = bytes([data[start] & _KEPT_FLAGS])
    return (width, height), _chunk(b"VP8X", flags + data[start + 1 : start + 10])


def _frame_size(kind: bytes, header: bytes) -> tuple[int, int]:
    """Width and height, px, of a lossy or lossless frame."""
    if kind == b"VP8 " and header[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", header.ljust(10, b"\0"), 6)
        return width & _MAX_EDGE_BITS, height & _MAX_EDGE_BITS
    if kind == b"VP8L" and header[:1] == b"\x2f":
        bits = int.from_bytes(header[1:5], "little")
        return 1 + (bits & _MAX_EDGE_BITS), 1 + (bits >> 14 & _MAX_EDGE_BITS)
    raise damaged("WEBP", f"its {kind.decode().strip()} chunk has no header")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return _CHUNK.pack(kind, len(content)) + content + bytes(len(content) & 1)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The type of each chunk, and where its content begins and ends.

    Ends before a chunk that the file does not have in full.
    """
    position = 12
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            return
        kind, length = _CHUNK.unpack_from(data, position)
        start, end = position + 8, position + 8 + length
        if end > len(data):
            return
        yield kind, start, end
        position = end + (length & 1)
    raise too_many_blocks("WEBP", "chunks", MAX_CHUNKS)
