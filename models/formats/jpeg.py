"""Reads the segments of a JPEG (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

from models.errors import BrokenImage, TooManyPixels, UnsupportedImage
from models.formats.orientation import read_orientation
from models.formats.parts import MAX_PIXELS, Parts, check_size, damaged, ends_early

START: Final = b"\xff\xd8"
MAX_SCANS: Final = 32  # of a progressive JPEG; encoders write about 10; each covers the whole image
MAX_SEGMENTS: Final = 1000  # 10 MiB of full segments of metadata are 160
MAX_TABLE_BYTES: Final = 2**16  # before the first scan; encoders write less than 2 KiB
# A JPEG of several scans is decoded from all its coefficients, of 2 bytes each: 65 megapixels with
# a quarter of the colour, 44 megapixels with all of it.
MAX_COEFFICIENT_BYTES: Final = 2**28

# In scan data, FF 00 and FF D0 to FF D7 (restarts) start no segment.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")
_SEGMENT = struct.Struct(">BH")  # marker and length
_SEGMENTS = {*range(0x02, 0xFF)} - {*range(0xD0, 0xDA)}  # markers that a length follows
_HUFFMAN, _START, _END, _SCAN = 0xC4, 0xD8, 0xD9, 0xDA
_JFIF, _EXIF_OR_XMP, _ADOBE = 0xE0, 0xE1, 0xEE
_ARITHMETIC_TABLES, _QUANTIZATION, _RESTARTS = 0xCC, 0xDB, 0xDD
_TABLES = (_HUFFMAN, _ARITHMETIC_TABLES, _QUANTIZATION, _RESTARTS)
_JPEG_LS = 0xF7  # the frame of ITU-T T.87
_FRAMES = {*range(0xC0, 0xD0), _JPEG_LS} - {_HUFFMAN, 0xC8, _ARITHMETIC_TABLES}
_PROGRESSIVE, _ARITHMETIC = (0xC2, 0xCA), (0xC9, 0xCA)
_READ_FRAMES = (0xC0, 0xC1, 0xC2, *_ARITHMETIC)
_JFIF_BYTES, _ADOBE_BYTES = 14, 12  # decoders ignore shorter ones
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_MAX_HUFFMAN_SYMBOLS = 256
_MIN_SCALED_EDGE = 1024  # px; shorter ones are decoded in full, or in half the size


@dataclass(frozen=True, slots=True)
class _Frame:
    """The header of an image.

    Attributes:
        blocks: Of 8 x 8 coefficients, by component.
        factors: Horizontal x vertical sampling factor, by component.
    """

    width: int
    height: int
    is_progressive: bool
    is_arithmetic: bool
    blocks: dict[int, int]
    factors: dict[int, int]


def read_parts(data: bytes) -> Parts:
    """Keep the tables, the frame and the scans, without metadata and what follows the image.

    Raises:
        BadImage: One of its subclasses; see `models.errors`.
    """
    kept = [START]
    kept_bytes = segments = 0
    frame: _Frame | None = None
    exif = xmp = None
    position = 2
    while True:
        marker, start, end = _next_segment(data, position)
        position = end
        segments += 1
        _check_counts(segments, 0)
        if marker == _SCAN:
            break
        if marker == _END:
            raise damaged("JPEG", f"it ends at byte {end} without an image")
        if marker in _FRAMES:
            if frame:
                raise damaged("JPEG", f"it has a second frame at byte {start}")
            frame = _read_frame(marker, data[start:end])
        elif marker == _EXIF_OR_XMP:
            if exif is None and data.startswith(b"Exif\0\0", start):
                exif = data[start:end]
            elif xmp is None and data.startswith(_XMP, start):
                xmp = data[start:end]
            continue
        elif not (
            marker in _TABLES
            or (marker == _JFIF and data.startswith(b"JFIF", start) and end - start >= _JFIF_BYTES)
            or (
                marker == _ADOBE
                and data.startswith(b"Adobe", start)
                and end - start >= _ADOBE_BYTES
            )
        ):
            continue
        kept.append(data[start - 4 : end])
        kept_bytes += end - start
        if kept_bytes > MAX_TABLE_BYTES:
            raise damaged("JPEG", f"it has more than {MAX_TABLE_BYTES} bytes of tables")
    if frame is None:
        raise damaged("JPEG", f"it has no frame before its scan at byte {start}")
    if frame.is_progressive:
        _check_coefficients(frame)
    scans, tables, end = _check_scans(data, frame, start, end, segments)
    if scans > 1:
        _check_coefficients(frame)
        # The decoder checks the tables of a scan after it has decoded the scans before.
        tables += [part[4:] for part in kept if part[1] == _HUFFMAN]
        for table in tables:
            _check_huffman_tables(table)
    kept.append(data[start - 4 : end])
    return Parts(
        "JPEG",
        b"".join(kept),
        frame.width,
        frame.height,
        read_orientation(exif, xmp and xmp.removeprefix(_XMP)),
        _work_px(frame, scans),
    )


def _work_px(frame: _Frame, scans: int) -> int:
    """See `Parts.work_px`; a pixel of a PNG takes 12 to 17 ns."""
    is_scaled = min(frame.width, frame.height) >= _MIN_SCALED_EDGE
    if scans > 1 or frame.is_arithmetic:
        divisor = 4 if is_scaled else 1  # 5 ns, 10 to 27 ns
    else:
        divisor = 16 if is_scaled else 2  # 1 to 2 ns, 6 ns
    return frame.width * frame.height // divisor


def _next_segment(data: bytes, position: int) -> tuple[int, int, int]:
    """The next marker, and where the content of its segment begins and ends.

    Bytes before the marker are skipped, as in all readers.
    """
    if data[position : position + 1] == b"\xff" and position + 4 <= len(data):
        marker, length = _SEGMENT.unpack_from(data, position + 1)
        if marker in _SEGMENTS and 2 <= length <= len(data) - position - 2:
            return marker, position + 4, position + 2 + length
    found = _MARKER.search(data, position)
    if found is None:
        raise ends_early("JPEG", data, "an end marker")
    marker, start = found[1][0], found.end()
    if marker in (_START, _END):
        return marker, start, start
    length = int.from_bytes(data[start : start + 2])
    if start + 2 > len(data) or start + length > len(data):
        raise ends_early("JPEG", data, f"the end of its segment at byte {start - 2}")
    if length < 2:
        raise damaged("JPEG", f"the segment at byte {start - 2} has a length of {length}")
    return marker, start + 2, start + length


def _check_counts(segments: int, scans: int) -> None:
    if segments > MAX_SEGMENTS:
        raise BrokenImage(
            f"the JPEG has more than {MAX_SEGMENTS} segments, most of them metadata:"
            " save the image again without metadata"
        )
    if scans > MAX_SCANS:
        raise BrokenImage(f"the JPEG has more than {MAX_SCANS} scans: save the image again")


def _read_frame(marker: int, content: bytes) -> _Frame:
    if marker not in _READ_FRAMES:
        raise UnsupportedImage(
            "the JPEG is lossless or hierarchical: save it as a baseline or progressive JPEG"
        )
    if len(content) < 6 or len(content) != 6 + 3 * content[5]:
        raise damaged("JPEG", f"its frame header has {len(content)} bytes")
    bits, count = content[0], content[5]
    height, width = int.from_bytes(content[1:3]), int.from_bytes(content[3:5])
    if bits != 8 or count not in (1, 3, 4):
        raise UnsupportedImage(
            f"the JPEG has {count} components of {bits} bits; 1, 3 or 4 of 8 bits are read:"
            " save it as one of them"
        )
    check_size("JPEG", width, height, MAX_PIXELS)
    across = [factors >> 4 for factors in content[7::3]]
    down = [factors & 15 for factors in content[7::3]]
    if not 1 <= min(across) <= max(across) <= 4 or not 1 <= min(down) <= max(down) <= 4:
        raise damaged("JPEG", f"its sampling factors are {across} and {down}, not 1 to 4")
    block_width, block_height = 8 * max(across), 8 * max(down)
    blocks, factors = {}, {}
    for component, x, y in zip(content[6::3], across, down, strict=True):
        blocks[component] = -(-width * x // block_width) * -(-height * y // block_height)
        factors[component] = x * y
    return _Frame(width, height, marker in _PROGRESSIVE, marker in _ARITHMETIC, blocks, factors)


def _check_huffman_tables(content: bytes) -> None:
    """Check what a decoder would find out when it uses a table (T.81, B.2.4.2 and annex C)."""
    position = 0
    while position < len(content):
        kind, table = content[position] >> 4, content[position] & 15
        counts = content[position + 1 : position + 17]
        symbols = content[position + 17 : position + 17 + sum(counts)]
        position += 17 + sum(counts)
        code = 0
        is_overfull = False
        for bits, count in enumerate(counts, 1):
            code += count
            is_overfull |= code > 1 << bits
            code <<= 1
        if (
            kind > 1
            or table > 3
            or len(counts) < 16
            or position > len(content)
            or len(symbols) > _MAX_HUFFMAN_SYMBOLS
            or is_overfull
            or (kind == 0 and max(symbols, default=0) > 15)
        ):
            raise damaged("JPEG", "one of its Huffman tables is not one")


def _check_scans(
    data: bytes, frame: _Frame, start: int, end: int, segments: int
) -> tuple[int, list[bytes], int]:
    """Check all scans; their number, the Huffman tables between them, where the image ends.

    Args:
        start: Where the content of the first scan header begins.
        end: Where it ends.
        segments: Before the first scan.
    """
    marker = _SCAN
    scans = 0
    tables = []
    least_bytes = 0
    while True:
        if marker == _SCAN:
            scans += 1
            least_bytes = _check_scan(frame, data[start:end])
        elif marker == _HUFFMAN:
            tables.append(data[start:end])
        elif marker in _FRAMES or marker == _START:
            raise damaged("JPEG", f"it has a second image at byte {start} before its end")
        position = end
        marker, start, end = _next_segment(data, position)
        segments += 1
        _check_counts(segments, scans)
        if start - position < least_bytes:
            raise ends_early(
                "JPEG", data, f"the pixels of {frame.width} x {frame.height} px:"
                f" a scan has {start - position} of at least {least_bytes} bytes",
            )  # fmt: skip
        least_bytes = 0
        if marker == _END:
            return scans, tables, end


def _check_scan(frame: _Frame, header: bytes) -> int:
    """Check the header of a scan (T.81, B.2.3 and G.1.1.1); the least size of its data, bytes."""
    count = header[0] if header else 0
    components = header[1 : 1 + 2 * count : 2]
    if len(header) != 4 + 2 * count or not set(components) <= set(frame.blocks):
        raise damaged("JPEG", "the header of a scan names other components than the frame")
    first, last, high, low = *header[-3:-1], header[-1] >> 4, header[-1] & 15
    blocks = sum(frame.blocks[component] for component in components)
    is_valid = 0 < count <= 4 and len(set(components)) == count
    if count > 1:
        is_valid &= sum(frame.factors[component] for component in components) <= 10
    if frame.is_progressive:
        is_valid &= (last == 0) if first == 0 else (first <= last <= 63 and count == 1)
        is_valid &= low <= 13 and (high == 0 or high == low + 1)
    if not is_valid:
        raise damaged("JPEG", "the header of a scan contradicts the frame")
    if frame.is_arithmetic:
        return 0
    if frame.is_progressive:
        return blocks // 8 if first == 0 else 0  # a bit per block
    return blocks // 4  # a bit for the mean, one for the end of the block


def _check_coefficients(frame: _Frame) -> None:
    coefficient_bytes = 128 * sum(frame.blocks.values())
    if coefficient_bytes > MAX_COEFFICIENT_BYTES:
        raise TooManyPixels(
            f"{frame.width} x {frame.height} px in several scans have {coefficient_bytes} bytes of"
            f" coefficients; the limit is {MAX_COEFFICIENT_BYTES}: send a smaller image, or a JPEG"
            " that is not progressive"
        )
