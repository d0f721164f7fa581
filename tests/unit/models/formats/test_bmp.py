"""The headers of a BMP, its run lengths, and what the file may ask for."""

from __future__ import annotations

import struct
import time

import numpy as np
import pytest
from PIL import Image

from models.errors import BrokenImage, TooManyPixels, UnsupportedImage
from models.formats.bmp import MAX_RUNS
from models.preprocess import Pixels, to_pixels
from tests.image_files import bmp, encoded

RLE8, RLE4 = 1, 2
BITFIELDS = 3


def grey(data: bytes, side: int) -> list[list[int]]:
    """The red values of a square image."""
    rows: list[list[int]] = to_pixels(data, side)[..., 0].tolist()
    return rows


def test_run_lengths_of_8_bits_are_unpacked() -> None:
    """Rows go upwards: a run, pixels as they are, a skipped row."""
    codes = b"\4\x10\0\0\0\3\1\2\3\0\1\4\0\0\0\2\1\1\2\x50\0\1"
    assert grey(bmp(4, 4, codes, bits=8, compression=RLE8), 4) == [
        [0, 0x50, 0x50, 0],
        [0, 0, 0, 0],
        [1, 2, 3, 4],
        [16, 16, 16, 16],
    ]


def test_run_lengths_of_4_bits_are_unpacked() -> None:
    codes = b"\4\x1f\0\0\0\3\x12\x30\1\xf0\0\1"
    assert grey(bmp(4, 4, codes, bits=4, compression=RLE4), 4)[2:] == [
        [17, 34, 51, 255],
        [17, 255, 17, 255],
    ]


def test_run_lengths_of_a_colour_picture_are_those_of_the_rows() -> None:
    values = np.random.default_rng(0).integers(0, 256, (30, 30), np.uint8)
    codes = b"".join(b"".join(bytes((1, value)) for value in row) + b"\0\0" for row in values[::-1])
    rows = b"".join(row.tobytes() + bytes(2) for row in values[::-1])
    assert grey(bmp(30, 30, codes, bits=8, compression=RLE8), 30) == grey(
        bmp(30, 30, rows, bits=8), 30
    )
    assert grey(bmp(30, 30, rows, bits=8), 30) == values.tolist()


@pytest.mark.parametrize(
    ("width", "height", "codes"),
    [
        (50_000_000, 1, b"\1\7\0\0\0\1"),
        (5_000_000, 1, b"\1\7\0\0\0\1"),
        (196_078, 255, b"\0\2\xff\xfe\0\1"),
        (7_000, 7_000, b"\0\1"),
    ],
)
def test_rows_that_are_hardly_given_are_bounded(width: int, height: int, codes: bytes) -> None:
    started = time.process_time()
    with pytest.raises(TooManyPixels):
        to_pixels(bmp(width, height, codes, bits=8, compression=RLE8), 16)
    assert time.process_time() - started < 0.3


@pytest.mark.parametrize(("bits", "compression"), [(8, RLE8), (4, RLE4)])
@pytest.mark.parametrize("run", [b"\1\7", b"\0\0", b"\0\2\0\0", b"\0\3\1\2\3\0"])
def test_the_number_of_runs_is_limited(run: bytes, bits: int, compression: int) -> None:
    """Runs behind the end of a row add no pixels."""
    started = time.process_time()
    try:
        to_pixels(bmp(5_000, 4_999, run * (MAX_RUNS + 9), bits=bits, compression=compression), 16)
    except BrokenImage as exc:
        assert f"{MAX_RUNS} runs" in str(exc)  # noqa: PT017 some end with the last row
    assert time.process_time() - started < 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_a_cut_file_says_which_rows_are_missing(mode: str) -> None:
    data = encoded(Image.linear_gradient("L").convert(mode), "BMP")
    for length in (30, len(data) // 2, len(data) - 1):
        text = (
            f"the BMP ends early, after {length} bytes, without (its header|[0-9]+ of its 256 rows)"
        )
        with pytest.raises(BrokenImage, match=text):
            to_pixels(data[:length], 16)


def test_run_lengths_that_are_cut_are_an_early_end() -> None:
    with pytest.raises(BrokenImage, match="without 3 of its 4 rows: send all of it"):
        to_pixels(bmp(4, 4, b"\4\1\0\0\2", bits=8, compression=RLE8), 16)


def test_the_padding_of_the_last_row_may_be_missing() -> None:
    assert grey(bmp(1, 1, b"\1\2\3", bits=24), 1) == [[3]]


COLOUR = (200, 100, 50, 0)  # blue, green, red, and nothing


def rows(alpha: int) -> bytes:
    return bytes((*COLOUR[:3], alpha)) * 16


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (bmp(4, 4, rows(0), bits=32), (50, 100, 200)),
        (bmp(4, 4, rows(9), bits=32), (50, 100, 200)),
        (
            bmp(4, 4, rows(0), bits=32, compression=BITFIELDS,
                masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
            (50, 100, 200),
        ),
        (
            bmp(4, 4, rows(0) [:60] + b"\0\0\0\xff", bits=32, compression=BITFIELDS,
                masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
            (255, 255, 255),
        ),
    ],
    ids=["unused", "unused but written", "an alpha channel of zeros", "an alpha channel"],
)  # fmt: skip
def test_an_alpha_channel_that_was_not_written_is_opaque(
    data: bytes, seen: tuple[int, int, int]
) -> None:
    assert to_pixels(data, 4)[2, 0].tolist() == list(seen)


def variants() -> dict[str, bytes]:
    """Ways to write a picture of 8 x 8 px whose rows are black, and white in the upper half."""
    white, black = bytes((255,)), bytes((0,))
    rgb = black * 24 * 4 + white * 24 * 4
    old = struct.pack("<2sIHHIIHHHH", b"BM", 0, 0, 0, 26, 12, 8, 8, 1, 24)
    return {
        "1 bit": bmp(8, 8, (bytes(4)) * 4 + b"\xff\0\0\0" * 4, bits=1),
        "4 bits": bmp(8, 8, bytes(16) + b"\xff" * 16, bits=4),
        "8 bits": bmp(8, 8, bytes(32) + b"\xff" * 32, bits=8),
        "16 bits, 5 5 5": bmp(8, 8, bytes(64) + b"\xff\x7f" * 32, bits=16),
        "16 bits, 5 6 5": bmp(8, 8, bytes(64) + b"\xff" * 64, bits=16, compression=BITFIELDS,
                              masks=(0xF800, 0x7E0, 0x1F, 0)),
        "24 bits": bmp(8, 8, rgb, bits=24),
        "downwards": bmp(8, -8, rgb[::-1], bits=24),
        "OS/2": old + rgb,
    }  # fmt: skip


@pytest.mark.parametrize("name", variants())
def test_the_variants_are_read(name: str) -> None:
    pixels: Pixels = to_pixels(variants()[name], 8)
    assert (pixels[:4] == 255).all()
    assert (pixels[4:] == 0).all()


@pytest.mark.parametrize("colours", [256, 300, 1000])
def test_a_palette_may_have_more_colours_than_pixels_can(colours: int) -> None:
    plain = bmp(1, 1, bytes((7, 0, 0, 0)), bits=8)
    more = 4 * (colours - 256)
    data = bytearray(plain[:-4] + bytes(more) + plain[-4:])
    struct.pack_into("<I", data, 10, 54 + 4 * colours)
    struct.pack_into("<I", data, 46, colours)
    assert grey(bytes(data), 1) == [[7]]


@pytest.mark.parametrize(
    ("bits", "compression", "masks"),
    [(24, 4, None), (8, 2, None), (2, 0, None), (32, BITFIELDS, (1, 2, 4, 8))],
)
def test_a_variant_that_is_not_read_is_unsupported(
    bits: int, compression: int, masks: tuple[int, int, int, int] | None
) -> None:
    data = bmp(8, 8, bytes(300), bits=bits, compression=compression, masks=masks)
    with pytest.raises(UnsupportedImage, match=r"BMP.*: save the image as a PNG"):
        to_pixels(data, 8)
