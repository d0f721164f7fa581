"""Which chunks of a WebP matter, and what the file may ask for."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from models.errors import BrokenImage, TooManyPixels
from models.formats.parts import MAX_CHUNKS
from models.preprocess import to_pixels
from tests.image_files import encoded, riff_chunk

SCENE = Image.linear_gradient("L").convert("RGB")
EXIF = Image.Exif()
EXIF[0x0112] = 3
FILES = {
    "lossy": encoded(SCENE, "WEBP"),
    "lossless": encoded(SCENE, "WEBP", lossless=True),
    "transparent": encoded(Image.merge("LA", [Image.linear_gradient("L")] * 2), "WEBP"),
    "animated": encoded(SCENE, "WEBP", save_all=True, append_images=[SCENE.rotate(90)]),
    "described": encoded(SCENE, "WEBP", exif=EXIF, xmp=b"<x:xmpmeta/>", icc_profile=b"profile"),
}


def riff(*chunks: bytes) -> bytes:
    content = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


@pytest.mark.parametrize("kind", FILES)
def test_metadata_are_not_read(kind: str) -> None:
    data = FILES[kind]
    more = riff_chunk(b"XMP ", bytes(3_000_000)) + riff_chunk(b"none", bytes(3)) * 900
    assert np.array_equal(to_pixels(data + more, 16), to_pixels(data, 16))


@pytest.mark.parametrize("kind", FILES)
def test_pixels_are_those_of_pillow(kind: str) -> None:
    with Image.open(BytesIO(FILES[kind])) as image:
        opaque = Image.alpha_composite(
            Image.new("RGBA", image.size, "white"), image.convert("RGBA")
        ).convert("RGB")
    if kind == "described":
        opaque = opaque.rotate(180)
    expected = np.asarray(opaque.resize((16, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(to_pixels(FILES[kind], 16), expected)


@pytest.mark.parametrize("kind", ["lossy", "lossless", "transparent"])
def test_a_cut_file_says_after_how_many_bytes(kind: str) -> None:
    for length in (20, len(FILES[kind]) // 2, len(FILES[kind]) - 4):
        with pytest.raises(BrokenImage, match=f"the WEBP ends early, after {length} bytes"):
            to_pixels(FILES[kind][:length], 16)


def test_metadata_and_frames_after_the_first_may_be_cut() -> None:
    for kind, length in (("described", -3), ("animated", -20)):
        data = FILES[kind]
        assert to_pixels(data[:length], 16).shape == (16, 16, 3)


def test_pixels_that_are_missing_inside_the_file_are_damage() -> None:
    """Though the file is whole by its chunks."""
    for kind, name in (("lossy", b"VP8 "), ("lossless", b"VP8L")):
        cut = riff(riff_chunk(name, FILES[kind][20 : len(FILES[kind]) * 2 // 3]))
        with pytest.raises(BrokenImage, match=r"save the image again and send all of it"):
            to_pixels(cut, 16)


@pytest.mark.parametrize("size", [(7_000, 7_000), (16_383, 1_600)])
def test_many_pixels_are_too_many(size: tuple[int, int]) -> None:
    """A file of two kilobytes would take hundreds of megabytes."""
    header = b"\x2f" + (size[0] - 1 | (size[1] - 1) << 14).to_bytes(4, "little")
    with pytest.raises(TooManyPixels, match="the limit of a WEBP is"):
        to_pixels(riff(riff_chunk(b"VP8L", header + bytes(20))), 16)


def test_the_canvas_counts_too() -> None:
    canvas = bytes(4) + (6_999).to_bytes(3, "little") * 2
    data = FILES["lossy"]
    with pytest.raises(TooManyPixels, match="7000 x 7000"):
        to_pixels(riff(riff_chunk(b"VP8X", canvas), data[12:]), 16)


def test_the_number_of_chunks_is_limited() -> None:
    data = FILES["lossy"] + riff_chunk(b"none", b"") * (MAX_CHUNKS + 1)
    with pytest.raises(BrokenImage, match=f"more than {MAX_CHUNKS} chunks, most of them metadata"):
        to_pixels(data, 16)
