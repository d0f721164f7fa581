"""Which blocks of a GIF matter, and what the file may ask for."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from models.errors import BrokenImage, TooManyPixels
from models.formats.gif import MAX_BLOCKS, MAX_EXTENSIONS
from models.preprocess import to_pixels
from tests.image_files import encoded

SCENE = Image.linear_gradient("L").convert("P")
FILE = encoded(SCENE, "GIF")
PIXELS = to_pixels(FILE, 16)
IMAGE = FILE.index(b"," + bytes(4))


def with_blocks(blocks: bytes) -> bytes:
    """The file with these blocks before its image."""
    return FILE[:IMAGE] + blocks + FILE[IMAGE:]


@pytest.mark.parametrize(
    "blocks",
    [
        b"!\xfe" + (b"\xff" + bytes(255)) * 8_000 + b"\0",
        b"!\xff\x0bXMP DataXMP" + (b"\x50" + bytes(80)) * 20_000 + b"\0",
        b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0" * 900,
        b"!\x01\x0c" + bytes(12) + b"\1a\0",
        b"\0" * 2**20,
    ],
    ids=["comment", "XMP", "loops", "text", "zeros"],
)
def test_metadata_are_not_read(blocks: bytes) -> None:
    assert np.array_equal(to_pixels(with_blocks(blocks), 16), PIXELS)


def test_what_follows_the_first_frame_is_not_read() -> None:
    """Not even whether the file has an end."""
    frames = [SCENE.rotate(90), SCENE.rotate(180)]
    data = encoded(SCENE, "GIF", save_all=True, append_images=frames)
    assert np.array_equal(to_pixels(data[:-2000], 16), PIXELS)
    assert np.array_equal(to_pixels(FILE[:-1], 16), PIXELS)


@pytest.mark.parametrize("missing", [2, 30, 1000])
def test_a_cut_file_says_after_how_many_bytes(missing: int) -> None:
    length = len(FILE) - missing
    with pytest.raises(BrokenImage, match=f"the GIF ends early, after {length} bytes"):
        to_pixels(FILE[:length], 16)


def gif(codes: list[int], width: int = 10, height: int = 10) -> bytes:
    """A GIF of codes of 9 bits; 256 clears the table and 257 ends the image."""
    bits = sum(code << 9 * place for place, code in enumerate(codes))
    packed = bits.to_bytes((9 * len(codes) + 7) // 8, "little")
    screen = struct.pack("<6sHHBBB", b"GIF89a", width, height, 0xF7, 0, 0) + bytes(768)
    image = struct.pack("<BHHHHBBB", 0x2C, 0, 0, width, height, 0, 8, len(packed))
    return screen + image + packed + b"\0;"


@pytest.mark.parametrize("codes", [[256, 7, 7, 257], [256, 7, 7, 257, *[0] * 20], [256, 7]])
def test_pixels_that_are_missing_are_an_early_end(codes: list[int]) -> None:
    with pytest.raises(BrokenImage, match="ends early"):
        to_pixels(gif(codes), 16)


def test_a_few_bytes_for_many_pixels_are_refused_by_arithmetic() -> None:
    with pytest.raises(BrokenImage, match="without the pixels of 5000 x 5000 px: 5 bytes"):
        to_pixels(gif([256, 7, 7, 257], 5000, 5000), 16)


def test_a_frame_beyond_the_screen_counts() -> None:
    data = bytearray(gif([256, 7, 257]))
    start = data.index(b"," + bytes(4))
    data[start + 1 : start + 5] = struct.pack("<HH", 60_000, 60_000)
    with pytest.raises(TooManyPixels, match="60010 x 60010"):
        to_pixels(bytes(data), 16)


@pytest.mark.parametrize("sub_blocks", [1, 250])
def test_the_number_of_sub_blocks_is_limited(sub_blocks: int) -> None:
    extension = b"!\xfe" + b"\1a" * (MAX_BLOCKS // sub_blocks + 1) + b"\0"
    with pytest.raises(BrokenImage, match=f"more than {MAX_BLOCKS} blocks, most of them metadata"):
        to_pixels(with_blocks(extension * sub_blocks), 16)


def test_the_number_of_extensions_is_limited() -> None:
    assert np.array_equal(to_pixels(with_blocks(b"!\xfe\0" * MAX_EXTENSIONS), 16), PIXELS)
    with pytest.raises(BrokenImage, match=f"more than {MAX_EXTENSIONS} extensions"):
        to_pixels(with_blocks(b"!\xfe\0" * (MAX_EXTENSIONS + 1)), 16)
