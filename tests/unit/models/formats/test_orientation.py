"""The orientation of Exif and XMP."""

from __future__ import annotations

import struct

import pytest

from models.formats.orientation import MAX_METADATA_BYTES, read_orientation

ORIENTATION, SHORT = 0x0112, 3


def exif(value: int, *, order: str = "<", type_: int = SHORT, count: int = 1) -> bytes:
    """A directory of two entries, the second of which is the orientation."""
    field = struct.pack(f"{order}{'I' if type_ == 4 else 'H'}", value).ljust(4, b"\0")
    return (
        (b"II*\0" if order == "<" else b"MM\0*")
        + struct.pack(f"{order}IH", 8, 2)
        + struct.pack(f"{order}HHII", 0x0100, 4, 1, 640)
        + struct.pack(f"{order}HHI", ORIENTATION, type_, count)
        + field
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("header", [b"", b"Exif\0\0"])
@pytest.mark.parametrize("type_", [3, 4])
def test_exif_is_read_in_both_byte_orders(order: str, header: bytes, type_: int) -> None:
    for value in range(1, 9):
        assert read_orientation(header + exif(value, order=order, type_=type_), None) == value


@pytest.mark.parametrize(
    "block",
    [
        None,
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        exif(6)[:-5],
        exif(9),
        exif(0),
        exif(6, type_=2),
        exif(6, count=2),
        exif(6).ljust(MAX_METADATA_BYTES + 1, b"\0"),
    ],
)
def test_damaged_exif_is_upright(block: bytes | None) -> None:
    assert read_orientation(block, None) == 1


@pytest.mark.parametrize(
    "text", [b'<a tiff:Orientation="6"/>', b"<tiff:Orientation>6</tiff:Orientation>",
             b"<a tiff:Orientation = '6'/>"]
)  # fmt: skip
def test_xmp_is_read_if_exif_has_none(text: bytes) -> None:
    assert read_orientation(None, text) == 6
    assert read_orientation(b"damaged", text) == 6
    assert read_orientation(exif(3), text) == 3
    assert read_orientation(None, text + bytes(MAX_METADATA_BYTES)) == 1
    assert read_orientation(None, text.replace(b"6", b"9")) == 1
