"""Reads the orientation from Exif and XMP; damaged metadata has none."""

from __future__ import annotations

import re
import struct
from typing import Final

UPRIGHT: Final = 1
MAX_METADATA_BYTES: Final = 2**16  # of a block that is read; a JPEG segment cannot be larger

_EXIF_HEADER = b"Exif\0\0"
_ORIENTATION_TAG = 0x0112
_FORMATS_BY_TYPE = {1: "B", 3: "H", 4: "I"}  # types of a TIFF entry: byte, short, long
_XMP = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])""")


def read_orientation(exif: bytes | None, xmp: bytes | None) -> int:
    """The orientation, 1 to 8: of Exif if it has one, else of XMP, else 1."""
    return (exif and _exif_orientation(exif)) or (xmp and _xmp_orientation(xmp)) or UPRIGHT


def _exif_orientation(block: bytes) -> int | None:
    """The value in the first directory of a TIFF file (TIFF 6.0, section 2)."""
    tiff = block.removeprefix(_EXIF_HEADER)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) > MAX_METADATA_BYTES:
        return None
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, type_, values = struct.unpack_from(f"{order}HHI", tiff, entry)
            if tag == _ORIENTATION_TAG:
                if values != 1 or type_ not in _FORMATS_BY_TYPE:
                    return None
                (value,) = struct.unpack_from(order + _FORMATS_BY_TYPE[type_], tiff, entry + 8)
                return value if 1 <= value <= 8 else None
    except struct.error:
        pass
    return None


def _xmp_orientation(block: bytes) -> int | None:
    found = _XMP.search(block) if len(block) <= MAX_METADATA_BYTES else None
    return int(found[1]) if found else None
