"""Which chunks of a PNG matter, and what the file may ask for."""

from __future__ import annotations

import time
import zlib
from itertools import chain

import numpy as np
import pytest
from PIL import Image

from models.errors import BrokenImage, TooManyPixels
from models.formats.parts import MAX_CHUNKS, MAX_EDGE
from models.formats.png import MAX_UNPACKED_BYTES
from models.preprocess import to_pixels
from tests.image_files import encoded, png, png_chunk

NOISE = np.random.default_rng(0).integers(0, 256, (25, 40, 3), np.uint8)
FILE = encoded(Image.fromarray(NOISE), "PNG")
PIXELS = to_pixels(FILE, 16)
ROWS = b"".join(b"\0" + row.tobytes() for row in NOISE)
TEXT = b"Comment\0" + b"a cat " * 300_000  # 1.8 MB
PROFILE = b"Printer\0\0" + zlib.compress(np.random.default_rng(1).bytes(1_300_000), 1)


def with_chunks(*chunks: bytes) -> bytes:
    """The file with these chunks after its header."""
    return FILE[:33] + b"".join(chunks) + FILE[33:]


@pytest.mark.parametrize(
    "chunks",
    [
        [png_chunk(b"tEXt", TEXT)],
        [png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(TEXT))],
        [png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(60_000_000)))],
        [png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + TEXT)],
        [png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(TEXT))],
        [png_chunk(b"iCCP", PROFILE)],
        [png_chunk(b"iCCP", b"no profile")],
        [png_chunk(b"eXIf", bytes(2_000_000))],
        [png_chunk(b"tEXt", b"n\0%d" % n) for n in range(900)],
        [png_chunk(b"tEXt", b"transparency\0none")],
        [png_chunk(b"acTL", bytes(3))],
        [png_chunk(b"tIME", b"", checksum_error=1)],
        [png_chunk(b"tRNS", bytes(6), checksum_error=1)],
        [png_chunk(b"tRNS", bytes(3))],
        [png_chunk(b"gAMA", b"12345678"), png_chunk(b"prVt", bytes(9))],
    ],
    ids=["tEXt", "zTXt", "bomb", "XMP", "packed XMP", "iCCP", "bad iCCP", "eXIf", "many", "name",
         "acTL", "checksum", "tRNS checksum", "tRNS length", "private"],
)  # fmt: skip
def test_metadata_are_not_read(chunks: list[bytes]) -> None:
    """Neither their size nor an error in them changes the pixels."""
    assert np.array_equal(to_pixels(with_chunks(*chunks), 16), PIXELS)


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"PLTE"])
def test_a_wrong_checksum_of_a_critical_chunk_is_damage(kind: bytes) -> None:
    data = bytearray(encoded(Image.fromarray(NOISE).convert("P"), "PNG"))
    start = data.index(kind)
    data[start + 4 + int.from_bytes(data[start - 4 : start])] ^= 1
    with pytest.raises(BrokenImage, match=f"the checksum of {kind.decode()} at byte"):
        to_pixels(bytes(data), 16)


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_the_pixel_data_may_be_in_chunks_of_any_size(size: int) -> None:
    packed = zlib.compress(ROWS)
    parts = [packed[at : at + size] for at in range(0, len(packed), size)]
    data = png(40, 25, parts[0])[:-12]
    data += b"".join(png_chunk(b"IDAT", part) for part in [*parts[1:], b""])
    assert np.array_equal(to_pixels(data + png_chunk(b"IEND", b""), 16), PIXELS)
    assert np.array_equal(to_pixels(data, 16), PIXELS)  # all pixels are there


@pytest.mark.parametrize("level", [0, 1, 6, 9])
@pytest.mark.parametrize("colour", [0, 4, 6])
def test_all_rows_are_found_however_they_are_packed(level: int, colour: int) -> None:
    """Rows that one code repeats are unpacked after the last byte was read."""
    channels = {0: 1, 4: 2, 6: 4}[colour]
    for height in range(1, 60):
        rows = (b"\0" + b"\x80" * 33 * channels) * height
        assert to_pixels(png(33, height, zlib.compress(rows, level), colour=colour), 8).any()


@pytest.mark.parametrize(
    "packed",
    [
        zlib.compress(ROWS)[:-2000],
        zlib.compress(ROWS[:-1]),
        zlib.compress(ROWS[: 121 * 12]),
        zlib.compress(b""),
        b"\x78\x9c",
    ],
    ids=["stream cut", "a byte less", "half of the rows", "no rows", "two bytes"],
)
def test_pixels_that_are_missing_are_an_early_end(packed: bytes) -> None:
    """Though the file is whole by its chunks."""
    with pytest.raises(BrokenImage, match=r"ends early.*: send all of it"):
        to_pixels(png(40, 25, packed), 16)


def test_a_cut_file_says_after_how_many_bytes() -> None:
    for length in (20, 40, len(FILE) // 2, len(FILE) - 20):
        with pytest.raises(BrokenImage, match=f"the PNG ends early, after {length} bytes"):
            to_pixels(FILE[:length], 16)


def test_a_few_bytes_for_many_pixels_are_refused_by_arithmetic() -> None:
    data = png(5000, 4400, zlib.compress(b"\0"))
    with pytest.raises(BrokenImage, match="without the pixel data of 5000 x 4400 px: 9 bytes"):
        to_pixels(data, 16)


@pytest.mark.parametrize(
    ("width", "height", "depth", "colour", "interlace", "limit"),
    [
        (5000, 4400, 8, 6, 0, MAX_UNPACKED_BYTES),
        (5000, 1800, 16, 6, 0, MAX_UNPACKED_BYTES),
        (5000, 2400, 8, 2, 1, MAX_UNPACKED_BYTES // 2),
        (MAX_EDGE + 1, 1, 8, 0, 0, MAX_EDGE),
        (1, 50_000_000, 8, 0, 0, MAX_EDGE),
    ],
)
def test_the_unpacked_size_is_limited(
    width: int, height: int, depth: int, colour: int, interlace: int, limit: int
) -> None:
    data = png(width, height, b"", depth=depth, colour=colour, interlace=interlace)
    with pytest.raises(TooManyPixels, match=f"{limit}: send a smaller image"):
        to_pixels(data, 16)


def test_the_number_of_chunks_is_limited() -> None:
    data = with_chunks(png_chunk(b"tEXt", b"") * (MAX_CHUNKS + 1))
    with pytest.raises(BrokenImage, match=f"more than {MAX_CHUNKS} chunks, most of them metadata"):
        to_pixels(data, 16)


@pytest.mark.parametrize(("depth", "colour"), [(3, 0), (4, 2), (16, 3), (4, 6), (8, 5)])
def test_a_depth_that_the_colour_type_does_not_have_is_damage(depth: int, colour: int) -> None:
    data = png(40, 25, zlib.compress(ROWS), depth=depth, colour=colour)
    with pytest.raises(BrokenImage, match=f"declares colour type {colour} of {depth} bits"):
        to_pixels(data, 16)


def test_very_short_chunks_of_pixel_data_take_bounded_time() -> None:
    data = FILE[:33] + png_chunk(b"IDAT", b"x") * (10_000_000 // 13)
    started = time.process_time()
    with pytest.raises(BrokenImage, match=f"more than {MAX_CHUNKS} chunks"):
        to_pixels(data, 16)
    assert time.process_time() - started < 1


def test_an_interlaced_image_is_read() -> None:
    """Adam7: seven images of every eighth to every second pixel."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
              (0, 1, 1, 2)]  # fmt: skip
    rows = chain.from_iterable(NOISE[y::dy, x::dx] for x, y, dx, dy in passes)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    assert np.array_equal(to_pixels(png(40, 25, packed, interlace=1), 16), PIXELS)
