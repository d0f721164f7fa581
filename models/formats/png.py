"""Reads the chunks of a PNG (W3C, Portable Network Graphics, third edition)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from models.errors import TooManyPixels
from models.formats.orientation import MAX_METADATA_BYTES, read_orientation
from models.formats.parts import (
    MAX_CHUNKS,
    Parts,
    check_size,
    damaged,
    ends_early,
    too_many_blocks,
)

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# Of the pixel data: 22 megapixels of RGB, 16 of RGBA; half of it if interlaced, which is slower.
MAX_UNPACKED_BYTES: Final = 2**26

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # likewise
_PALETTE = 3  # colour type
_TRANSPARENCY_BYTES = {0: 2, 2: 6}  # by colour type; with a palette one per colour
_CHUNK = struct.Struct(">I4s")
_CHECKSUM_BYTES = 4
_MAX_DEFLATE_RATIO = 1032  # zlib.net/zlib_tech.html: 258 bytes of two bits
_XMP_KEYWORD = b"XML:com.adobe.xmp\0\0\0"  # not compressed
_END = b"\0\0\0\0IEND\xae\x42\x60\x82"


def read_parts(data: bytes) -> Parts:
    """Keep the header, the palette, the transparency and the pixel data.

    A chunk that is not critical is ignored if its checksum is wrong, as in libpng.

    Raises:
        BadImage: One of its subclasses; see `models.errors`.
    """
    width, height, colour, unpacked_bytes = _read_header(data)
    kept: list[bytes | memoryview] = [data[:33]]
    pixel_data: list[memoryview] = []
    exif = xmp = None
    pixel_data_ended = has_palette = False
    for kind, start, end in _chunks(data):
        if kind == b"IDAT":
            if pixel_data_ended:
                continue
            _check_critical(data, kind, start, end)
            if end > start:
                pixel_data.append(memoryview(data)[start:end])
            continue
        pixel_data_ended = bool(pixel_data)
        if kind == b"PLTE":
            _check_critical(data, kind, start, end)
            if not pixel_data:
                has_palette = True
                kept.append(data[start - 8 : end + 4])
        elif kind == b"tRNS":
            is_valid = end - start == _TRANSPARENCY_BYTES.get(colour) or colour == _PALETTE
            if is_valid and not pixel_data and _has_checksum(data, start, end):
                kept.append(data[start - 8 : end + 4])
        elif kind == b"IEND":
            break
        elif kind in (b"eXIf", b"iTXt") and end - start <= MAX_METADATA_BYTES:
            if not _has_checksum(data, start, end):
                continue
            if kind == b"eXIf":
                exif = exif or data[start:end]
            elif data.startswith(_XMP_KEYWORD, start):
                xmp = xmp or data[start:end]
    if colour == _PALETTE and not has_palette:
        raise damaged("PNG", "it has no palette")
    if not pixel_data:
        raise ends_early("PNG", data, "pixel data")
    packed_bytes = sum(len(part) for part in pixel_data)
    if packed_bytes * _MAX_DEFLATE_RATIO < unpacked_bytes:
        raise ends_early(
            "PNG", data, f"the pixel data of {width} x {height} px: {packed_bytes} bytes are there"
        )
    kept += _without_end(pixel_data, packed_bytes)
    return Parts(
        "PNG", b"".join(kept), width, height, read_orientation(exif, xmp), unpacked_bytes // 3
    )


def _read_header(data: bytes) -> tuple[int, int, int, int]:
    """Width and height, px, the colour type, and the size of the unpacked pixel data, bytes."""
    if len(data) < 33:
        raise ends_early("PNG", data, "its header")
    length, kind = _CHUNK.unpack_from(data, 8)
    if (length, kind) != (13, b"IHDR"):
        raise damaged("PNG", f"it begins with {length} bytes of {kind!r}, not with 13 of b'IHDR'")
    _check_critical(data, kind, 16, 29)
    width, height, depth, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    check_size("PNG", width, height)
    if depth not in _DEPTHS.get(colour, ()):
        raise damaged("PNG", f"it declares colour type {colour} of {depth} bits")
    row_bytes = 1 + (width * _CHANNELS[colour] * depth + 7) // 8
    unpacked_bytes = height * row_bytes
    most, name = MAX_UNPACKED_BYTES, "PNG"
    if interlace:
        most, name = MAX_UNPACKED_BYTES // 2, "PNG that is interlaced"
    if unpacked_bytes > most:
        raise TooManyPixels(
            f"{width} x {height} px of {_CHANNELS[colour] * depth} bits are {unpacked_bytes} bytes;"
            f" the limit of a {name} is {most}: send a smaller image, or a JPEG"
        )
    return width, height, colour, unpacked_bytes


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The type of each chunk after the header, and where its content begins and ends.

    Ends before a chunk that the file does not have in full, unless it holds pixel data.
    """
    position = 33
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            return
        length, kind = _CHUNK.unpack_from(data, position)
        start, end = position + 8, position + 8 + length
        if not kind.isalpha():
            return
        position = end + _CHECKSUM_BYTES
        if position > len(data):
            if kind == b"IDAT":
                raise ends_early("PNG", data, f"the end of its pixel data at byte {position}")
            return
        yield kind, start, end
    raise too_many_blocks("PNG", "chunks", MAX_CHUNKS)


def _check_critical(data: bytes, kind: bytes, start: int, end: int) -> None:
    if not _has_checksum(data, start, end):
        raise damaged("PNG", f"the checksum of {kind.decode()} at byte {start} is wrong")


def _without_end(pixel_data: list[memoryview], packed_bytes: int) -> list[bytes | memoryview]:
    """A chunk of all pixel data but for their last byte, and the last chunk.

    That byte belongs to the checksum of the zlib stream. Without it the stream has no end, so that
    Pillow notices rows that are missing.
    """
    *most, last = pixel_data
    header = _CHUNK.pack(packed_bytes - 1, b"IDAT")
    return [header, *most, last[:-1], bytes(_CHECKSUM_BYTES), _END]


def _has_checksum(data: bytes, start: int, end: int) -> bool:
    """Whether the checksum of a chunk is right."""
    stored = int.from_bytes(data[end : end + _CHECKSUM_BYTES])
    return zlib.crc32(memoryview(data)[start - 4 : end]) == stored
