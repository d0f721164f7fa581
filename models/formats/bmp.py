"""Reads the headers of a BMP (Microsoft, Bitmap Storage) and unpacks run lengths."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from models.errors import UnsupportedImage
from models.formats.orientation import UPRIGHT
from models.formats.parts import Parts, check_size, damaged, ends_early

SIGNATURE: Final = b"BM"
MAX_RUNS: Final = 500_000  # they are unpacked one by one

_RUN_BYTE_PX = 16  # a run of two bytes takes as long as 32 pixels of a PNG
_FILE_HEADER_BYTES = 14
_MAX_COLOURS = 2**16  # some programs write more colours than the pixels can have
_MOST_INDICES = 256
_COLOURS_AT = 46  # offset of their number in the file, bytes
_OLD_HEADER_BYTES = 12  # of OS/2
_HEADER_BYTES = (_OLD_HEADER_BYTES, 40, 52, 56, 64, 108, 124)
_RGB, _RLE8, _RLE4, _BITFIELDS = range(4)
_COMPRESSIONS = {  # by bits per pixel
    1: (_RGB,),
    4: (_RGB, _RLE4),
    8: (_RGB, _RLE8),
    16: (_RGB, _BITFIELDS),
    24: (_RGB, _BITFIELDS),
    32: (_RGB, _BITFIELDS),
}
_END_OF_LINE, _END_OF_IMAGE, _DELTA = range(3)
_DIGIT_VALUES = bytes.maketrans(b"0123456789abcdef", bytes(range(16)))


@dataclass(frozen=True, slots=True)
class _Header:
    """The headers of a BMP.

    Attributes:
        colours: Of the palette, as declared; 0 if there is none, or if the number is the usual one.
        offset: Of the pixel data, bytes.
    """

    width: int
    height: int
    is_top_down: bool
    bits: int
    compression: int
    colours: int
    palette: bytes
    offset: int

    @property
    def stride(self) -> int:
        """Size of a row, bytes."""
        return (self.width * self.bits + 31) // 32 * 4


def read_parts(data: bytes) -> Parts:
    """Check that all rows are there; run lengths are only unpacked by `without_runs`.

    Raises:
        BadImage: One of its subclasses; see `models.errors`.
    """
    header = _read_header(data)
    width, height = header.width, header.height
    check_size("BMP", width, height)
    if header.compression in (_RLE4, _RLE8):
        work_px = width * height + _RUN_BYTE_PX * len(data)
        return Parts("BMP", data, width, height, UPRIGHT, work_px)
    needed = header.offset + header.stride * (height - 1) + (width * header.bits + 7) // 8
    if len(data) < needed:
        rows = max(0, len(data) - header.offset) // header.stride
        raise ends_early("BMP", data, f"{height - rows} of its {height} rows")
    padding = bytes(max(0, header.offset + header.stride * height - len(data)))
    if header.colours > _MOST_INDICES:  # which Pillow refuses
        data = data[:_COLOURS_AT] + struct.pack("<I", _MOST_INDICES) + data[_COLOURS_AT + 4 :]
    return Parts("BMP", data + padding, width, height, UPRIGHT, width * height)


def without_runs(data: bytes) -> bytes:
    """The same BMP with 8 bits per pixel instead of run lengths; another one as it is.

    Raises:
        BrokenImage: The run lengths end early, or there are more than `MAX_RUNS`.
    """
    header = _read_header(data)
    if header.compression not in (_RLE4, _RLE8):
        return data
    indices = _unpack_runs(header, data)
    offset = _FILE_HEADER_BYTES + 40 + len(header.palette)
    height = -header.height if header.is_top_down else header.height
    return b"".join(
        (
            struct.pack("<2sIHHI", SIGNATURE, offset + len(indices), 0, 0, offset),
            struct.pack(
                "<IiiHHIIiiII", 40, header.width, height, 1, 8,
                _RGB, len(indices), 0, 0, len(header.palette) // 4, 0,
            ),
            header.palette,
            indices,
        )
    )  # fmt: skip


def _read_header(data: bytes) -> _Header:
    if len(data) < 26:
        raise ends_early("BMP", data, "its header")
    offset, header_bytes = struct.unpack_from("<II", data, 10)
    if header_bytes not in _HEADER_BYTES:
        raise UnsupportedImage(
            f"the BMP has a header of {header_bytes} bytes; {_HEADER_BYTES} are read:"
            " save the image as a PNG"
        )
    if len(data) < _FILE_HEADER_BYTES + header_bytes:
        raise ends_early("BMP", data, "its header")
    compression = colours = 0
    if header_bytes == _OLD_HEADER_BYTES:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        entry_bytes = 3
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        (colours,) = struct.unpack_from("<I", data, _COLOURS_AT)
        entry_bytes = 4
    if width < 0:
        raise damaged("BMP", f"it declares {width} x {height} px")
    if compression not in _COMPRESSIONS.get(bits, ()):
        raise UnsupportedImage(
            f"the BMP has {bits} bits per pixel in compression {compression}; run lengths of 4 or 8"
            " bits, or 1, 4, 8, 16, 24 or 32 bits as they are, are read: save the image as a PNG"
        )
    palette_start = palette_end = _FILE_HEADER_BYTES + header_bytes
    if bits > 8:
        colours = 0  # a hint for old screens
    elif colours > _MAX_COLOURS:
        raise damaged("BMP", f"it declares {colours} colours")
    else:
        palette_end += entry_bytes * (colours or 1 << bits)
        if offset == palette_start:  # as some programs write it
            offset = palette_end
    palette = data[palette_start : min(palette_end, palette_start + _MOST_INDICES * entry_bytes)]
    offset = offset or palette_end
    return _Header(width, abs(height), height < 0, bits, compression, colours, palette, offset)


def _unpack_runs(header: _Header, data: bytes) -> bytearray:
    """The colour indices of all rows as they are stored, [height, stride]; what is left out is 0.

    The decoder of Pillow appends single pixels in Python, which takes seconds for a kilobyte.
    """
    width, height = header.width, header.height
    stride = (width + 3) // 4 * 4
    indices = bytearray(stride * height)
    is_rle4 = header.compression == _RLE4
    patterns = [
        bytes((value >> 4, value & 15)) * 128 if is_rle4 else bytes((value,)) * 255
        for value in range(256)
    ]
    x = y = 0
    position = header.offset
    for _ in range(MAX_RUNS):
        if y >= height or (y == height - 1 and x >= width):
            return indices
        if len(data) < position + 2:
            raise ends_early("BMP", data, f"{height - y} of its {height} rows")
        count, value = data[position], data[position + 1]
        position += 2
        if count:
            run = patterns[value]
        elif value == _END_OF_LINE:
            x, y = 0, y + 1
            continue
        elif value == _END_OF_IMAGE:
            return indices
        elif value == _DELTA:
            if len(data) < position + 2:
                continue
            x, y = x + data[position], y + data[position + 1]
            position += 2
            continue
        else:
            count = value
            packed = data[position : position + ((count + 1) // 2 if is_rle4 else count)]
            position += len(packed) + (len(packed) & 1)
            run = packed.hex().encode().translate(_DIGIT_VALUES) if is_rle4 else packed
            count = min(count, len(run))
        visible = min(count, width - x)
        if visible > 0:
            begin = y * stride + x
            indices[begin : begin + visible] = run[:visible]
        x += count
    raise damaged("BMP", f"it has more than {MAX_RUNS} runs")
