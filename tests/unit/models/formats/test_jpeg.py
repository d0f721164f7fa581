"""Which segments of a JPEG matter, and what the file may ask for."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PIL import Image

from models.errors import BrokenImage, TooManyPixels, UnsupportedImage
from models.formats.jpeg import MAX_SCANS, MAX_SEGMENTS
from models.preprocess import to_pixels
from tests.image_files import encoded, jpeg_segment

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (25, 40, 3), np.uint8))
FILE = encoded(NOISE, "JPEG")
PIXELS = to_pixels(FILE, 16)
PROGRESSIVE = encoded(NOISE, "JPEG", progressive=True)
SCAN = b"\xff\xda"
APP0, APP1, APP2, APP13, APP14, COMMENT = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE


def with_segments(*segments: bytes) -> bytes:
    """The file with these bytes before its first segment."""
    return FILE[:2] + b"".join(segments) + FILE[2:]


@pytest.mark.parametrize(
    "segments",
    [
        [jpeg_segment(APP1, b"Exif\0\0" + bytes(10_400))] * 990,
        [jpeg_segment(APP1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(65_000))] * 100,
        [jpeg_segment(APP2, b"ICC_PROFILE\0\1\1" + bytes(65_000))] * 100,
        [jpeg_segment(APP2, b"MPF\0" + bytes(20))],
        [jpeg_segment(APP13, b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\0" * 5_000)] * 150,
        [jpeg_segment(COMMENT, b"\xff\xda\0\x08" * 100)],
        [jpeg_segment(APP0, b"JFIF\0"), jpeg_segment(APP14, b"Adobe\0d")],
        [b"\0"],
        [b"\0" * 5_000_000],
        [b"\xff" * 5_000_000],
    ],
    ids=["Exif", "XMP", "ICC", "MPF", "Photoshop", "comment", "short", "a byte", "bytes", "fill"],
)
def test_metadata_are_not_read(segments: list[bytes]) -> None:
    started = time.process_time()
    assert np.array_equal(to_pixels(with_segments(*segments), 16), PIXELS)
    assert time.process_time() - started < 1


def test_what_follows_the_image_is_not_read() -> None:
    """For example the second image of a phone, or its film."""
    film = b"\0\0\0\x18ftypmp42" + 20_000 * (SCAN + b"\0\x08")
    assert np.array_equal(to_pixels(FILE + FILE + film, 16), PIXELS)


@pytest.mark.parametrize("missing", [2, 3, 100, len(FILE) - 100, len(FILE) - 4])
def test_a_cut_file_says_after_how_many_bytes(missing: int) -> None:
    length = len(FILE) - missing
    with pytest.raises(BrokenImage, match=f"ends early, after {length} bytes.*: send all of it"):
        to_pixels(FILE[:length], 16)


def resized(data: bytes, width: int, height: int) -> bytes:
    """The file with this size in its frame header."""
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    size = height.to_bytes(2) + width.to_bytes(2)
    return data[: frame + 5] + size + data[frame + 9 :]


@pytest.mark.parametrize("data", [FILE, PROGRESSIVE])
def test_a_few_bytes_for_many_pixels_are_refused_by_arithmetic(data: bytes) -> None:
    with pytest.raises(BrokenImage, match="without the pixels of 8192 x 6144 px: a scan has"):
        to_pixels(resized(data, 8192, 6144), 16)


@pytest.mark.parametrize("size", [(8192, 6144), (8160, 6120), (6048, 8064), (9280, 6944)])
def test_phones_of_48_to_64_megapixels_are_read(size: tuple[int, int]) -> None:
    data = encoded(Image.new("L", size, 77), "JPEG")
    assert (to_pixels(data, 16) == 77).all()


def test_more_pixels_are_too_many() -> None:
    with pytest.raises(TooManyPixels, match="12000 x 9000 = 108000000 pixels; the limit"):
        to_pixels(resized(FILE, 12_000, 9_000), 16)


def test_an_image_that_cannot_be_decoded_smaller_has_fewer_pixels() -> None:
    narrow = encoded(Image.new("L", (65_000, 400), 77), "JPEG")
    with pytest.raises(TooManyPixels, match="65000 x 400 px is too narrow"):
        to_pixels(narrow, 112)


def test_several_scans_of_many_pixels_are_too_many() -> None:
    """All coefficients of a progressive JPEG are in memory."""
    data = encoded(NOISE, "JPEG", progressive=True, subsampling=0)
    with pytest.raises(TooManyPixels, match="or a JPEG that is not progressive"):
        to_pixels(resized(data, 8000, 6144), 16)


def test_the_number_of_scans_is_limited() -> None:
    """Each scan covers the whole image: 1 MB of scans takes a minute."""
    assert 2 < PROGRESSIVE.count(SCAN) < MAX_SCANS
    assert to_pixels(PROGRESSIVE, 8).shape == (8, 8, 3)
    last = PROGRESSIVE.rindex(SCAN)
    many = PROGRESSIVE[:last] + (MAX_SCANS + 1) * PROGRESSIVE[last:-2] + PROGRESSIVE[-2:]
    with pytest.raises(BrokenImage, match=f"more than {MAX_SCANS} scans: save the image again"):
        to_pixels(many, 8)


def test_the_number_of_segments_is_limited() -> None:
    empty = jpeg_segment(COMMENT, b"")
    text = f"more than {MAX_SEGMENTS} segments, most of them metadata"
    with pytest.raises(BrokenImage, match=text):
        to_pixels(with_segments(empty * (MAX_SEGMENTS + 1)), 8)
    with pytest.raises(BrokenImage, match=text):
        to_pixels(FILE[:-2] + empty * (MAX_SEGMENTS + 1) + FILE[-2:], 8)


def test_the_tables_are_limited() -> None:
    """Each table costs a decoder time."""
    tables = jpeg_segment(0xDB, (b"\0" + b"\1" * 64) * 900) * 2
    with pytest.raises(BrokenImage, match="more than 65536 bytes of tables"):
        to_pixels(with_segments(tables), 8)


@pytest.mark.parametrize("offset", [-3, -2, -1])
def test_a_scan_that_contradicts_the_frame_is_found_before_decoding(offset: int) -> None:
    """A decoder would find it after the scans before."""
    last = PROGRESSIVE.rindex(SCAN)
    end = last + 2 + int.from_bytes(PROGRESSIVE[last + 2 : last + 4])
    data = PROGRESSIVE[: end + offset] + b"\xff" + PROGRESSIVE[end + offset + 1 :]
    with pytest.raises(BrokenImage, match="the header of a scan contradicts the frame"):
        to_pixels(data, 8)


def test_a_huffman_table_of_a_later_scan_is_checked_before_decoding() -> None:
    last = PROGRESSIVE.rindex(SCAN)
    too_many_codes = jpeg_segment(0xC4, b"\x10" + b"\xff" + bytes(15) + bytes(255))
    with pytest.raises(BrokenImage, match="Huffman"):
        to_pixels(PROGRESSIVE[:last] + too_many_codes + PROGRESSIVE[last:], 8)


@pytest.mark.parametrize(("offset", "value"), [(1, 0xC3), (1, 0xC5), (1, 0xF7), (4, 12), (9, 2)])
def test_a_kind_of_jpeg_that_is_not_read_is_unsupported(offset: int, value: int) -> None:
    """Lossless, hierarchical, JPEG-LS, 12 bits, two components."""
    frame = bytearray(FILE)
    start = frame.index(b"\xff\xc0")
    frame[start + offset] = value
    if offset == 9:
        frame[start + 2 : start + 4] = (8 + 3 * value).to_bytes(2)
    with pytest.raises(UnsupportedImage, match="save it as"):
        to_pixels(bytes(frame), 8)


@pytest.mark.parametrize(
    "options", [{"subsampling": 2}, {"optimize": True}, {"restart_marker_blocks": 1}]
)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [True, False])
def test_the_ways_of_encoding_are_read(
    mode: str, progressive: bool, options: dict[str, object]
) -> None:
    image = Image.linear_gradient("L").convert(mode)
    pixels = to_pixels(encoded(image, "JPEG", progressive=progressive, **options), 16)
    plain = to_pixels(encoded(image.convert("RGB"), "PNG"), 16)
    assert np.abs(pixels.astype(int) - plain).max() <= 4
