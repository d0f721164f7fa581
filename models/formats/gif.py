"""Reads the blocks of a GIF (CompuServe, Graphics Interchange Format, version 89a)."""

from __future__ import annotations

import re
import struct
from typing import Final

from models.formats.orientation import UPRIGHT
from models.formats.parts import (
    Parts,
    check_size,
    damaged,
    ends_early,
    too_many_blocks,
)

SIGNATURES: Final = (b"GIF87a", b"GIF89a")
MAX_EXTENSIONS: Final = 1000  # before the first image, which needs one
MAX_BLOCKS: Final = 50_000  # sub-blocks, of up to 255 bytes; 10 MiB of full ones are 41,000

_IMAGE, _END = 0x2C, 0x3B  # an extension begins with 0x21
_INTRODUCER = re.compile(rb"[\x21\x2c\x3b]")
_GRAPHIC_CONTROL = 0xF9  # has the transparent colour
# A code has at least 12 bits once it stands for 4093 pixels, the longest entry of the table.
_MAX_PIXELS_PER_BYTE = 4093 * 8 / 12


def read_parts(data: bytes) -> Parts:
    """Keep the first image with its colours and its transparency.

    Raises:
        BadImage: One of its subclasses; see `models.errors`.
    """
    if len(data) < 13:
        raise ends_early("GIF", data, "its header")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    check_size("GIF", width, height)
    start = 13 + _palette_bytes(flags)
    graphic_control, start, blocks = _skip_extensions(data, start)
    if len(data) < start + 11:
        raise ends_early("GIF", data, "an image")
    left, top, frame_width, frame_height, frame_flags = struct.unpack_from(
        "<HHHHB", data, start + 1
    )
    check_size("GIF", frame_width, frame_height)
    # A frame beyond the screen enlarges the image.
    width, height = max(width, left + frame_width), max(height, top + frame_height)
    check_size("GIF", width, height)
    first_block = start + 11 + _palette_bytes(frame_flags)
    end, count = _skip_sub_blocks(data, first_block, MAX_BLOCKS - blocks)
    packed_bytes = end - first_block - count
    if packed_bytes * _MAX_PIXELS_PER_BYTE < frame_width * frame_height:
        raise ends_early(
            "GIF", data, f"the pixels of {frame_width} x {frame_height} px:"
            f" {packed_bytes} bytes are there",
        )  # fmt: skip
    screen = data[: 13 + _palette_bytes(flags)]
    parts = b"".join((screen, graphic_control, data[start:end], b";"))
    return Parts("GIF", parts, width, height, UPRIGHT, width * height)


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_extensions(data: bytes, position: int) -> tuple[bytes, int, int]:
    """The last graphic control extension, where the first image begins, and the blocks before."""
    graphic_control = b""
    blocks = extensions = 0
    while found := _INTRODUCER.search(data, position):  # all readers skip other bytes
        position, introducer = found.start(), found[0][0]
        if introducer == _IMAGE:
            return graphic_control, position, blocks
        if introducer == _END:
            raise damaged("GIF", f"it ends at byte {position} without an image")
        extensions += 1
        if extensions > MAX_EXTENSIONS:
            raise too_many_blocks("GIF", "extensions", MAX_EXTENSIONS)
        end, count = _skip_sub_blocks(data, position + 2, MAX_BLOCKS - blocks)
        if data[position + 1] == _GRAPHIC_CONTROL:
            graphic_control = data[position:end]
        position = end
        blocks += count
    raise ends_early("GIF", data, "an image")


def _skip_sub_blocks(data: bytes, position: int, most: int) -> tuple[int, int]:
    """Where a series of sub-blocks ends, and their number."""
    for count in range(1, most + 1):
        if position >= len(data):
            raise ends_early("GIF", data, "the end of its image or of an extension")
        size = data[position]
        position += 1 + size
        if size == 0:
            return position, count
    raise too_many_blocks("GIF", "blocks", MAX_BLOCKS)
