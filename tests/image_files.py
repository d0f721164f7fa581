"""Makes image files, byte by byte where Pillow would not write them."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    """The file of an image."""
    content = BytesIO()
    image.save(content, format_, **options)
    return content.getvalue()


def png_chunk(kind: bytes, content: bytes, *, checksum_error: int = 0) -> bytes:
    """A chunk of a PNG."""
    checksum = zlib.crc32(kind + content) ^ checksum_error
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(
    width: int,
    height: int,
    packed: bytes,
    *,
    depth: int = 8,
    colour: int = 2,
    interlace: int = 0,
    chunks: bytes = b"",
) -> bytes:
    """A PNG with this pixel data, and with `chunks` before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    palette = png_chunk(b"PLTE", bytes(768)) if colour == 3 else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + palette
        + chunks
        + png_chunk(b"IDAT", packed)
        + png_chunk(b"IEND", b"")
    )


def jpeg_segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return bytes((0xFF, marker)) + struct.pack(">H", 2 + len(content)) + content


def riff_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a WebP."""
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) & 1)


def bmp(
    width: int,
    height: int,
    pixels: bytes,
    *,
    bits: int,
    compression: int = 0,
    masks: tuple[int, int, int, int] | None = None,
) -> bytes:
    """A BMP whose palette, if it has one, is grey; with masks it has a header of version 4."""
    colours = 1 << bits if bits <= 8 else 0
    palette = b"".join(bytes((n * 255 // (colours - 1),) * 3) + b"\0" for n in range(colours))
    more = struct.pack("<4I", *masks) + bytes(52) if masks else b""
    offset = 54 + len(more) + len(palette)
    header = struct.pack(
        "<2sIHHIIiiHHIIiiII", b"BM", offset + len(pixels), 0, 0, offset,
        40 + len(more), width, height, 1, bits, compression, len(pixels), 0, 0, colours, 0,
    )  # fmt: skip
    return header + more + palette + pixels
