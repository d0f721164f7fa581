"""Converts an encoded image to network input; shared by evaluation and serving."""

from __future__ import annotations

import re
import struct
import warnings
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from models.errors import BrokenImage, EmptyImage, TooManyPixels, UnsupportedImage

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 50_000_000  # width x height as the header declares them
# Stands in every card. Change it if the same image would give other pixels.
PREPROCESSING: Final = "square-crop/v1"

MAX_SCANS = 32  # of a progressive JPEG; encoders write about 10; each scan covers the whole image
MAX_SEGMENTS = 10_000  # of a JPEG; a metadata segment has up to 64 KiB
MAX_TEXT_BYTES = 2**20  # of a PNG, decompressed

Pixels = NDArray[np.uint8]

# Pillow warns of large images, for which MAX_PIXELS holds, and of damaged metadata, which is
# ignored. The filter is global because `warnings.catch_warnings` is not thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")
PngImagePlugin.MAX_TEXT_MEMORY = MAX_TEXT_BYTES

# Raised by Pillow's decoders and metadata readers for damaged bytes.
_DECODE_ERRORS = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    MemoryError,
    struct.error,
)
# Marker of a JPEG segment. In scan data, FF 00 and FF D0 to FF D7 (restarts) start no segment.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")
_BEGIN, _SCAN, _END = b"\xd8", b"\xda", b"\xd9"
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF orientation


def to_pixels(data: bytes, side: int, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode an image, apply its EXIF orientation, crop the central square and resize it.

    Args:
        data: A JPEG, PNG, WebP, GIF or BMP of any mode; only the first frame is used.
        side: Width and height of the result, px.
        max_pixels: Limit of width x height in the header; Pillow also limits it to 178,956,970.

    Returns:
        uint8 [side, side, 3], RGB.

    Raises:
        BadImage: One of its subclasses; see `models.errors`.
    """
    return crop_square(decode_upright(data, target_side=side, max_pixels=max_pixels), side)


def crop_square(image: Image.Image, side: int) -> Pixels:
    """Crop the central square of an RGB image and resize it; uint8 [side, side, 3]."""
    edge = min(image.size)
    left, top = (image.width - edge) / 2, (image.height - edge) / 2
    return np.asarray(
        image.resize(
            (side, side), Image.Resampling.BILINEAR, box=(left, top, left + edge, top + edge)
        )
    )


def decode_upright(data: bytes, target_side: int, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image to RGB and apply its EXIF orientation; damaged EXIF is ignored.

    A JPEG may be scaled by 1/2, 1/4 or 1/8 while decoding, which is faster. Its edges keep at
    least 2 x `target_side` px if they had as many.

    Raises:
        BadImage: One of its subclasses; see `models.errors`.
    """
    return decode(open_image(data, max_pixels=max_pixels), target_side)


def open_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read the header of an image without decoding it.

    Raises:
        BadImage: One of its subclasses; see `models.errors`.
    """
    if not data:
        raise EmptyImage(f"the image is empty; send an image as {', '.join(FORMATS)}")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as exc:
        raise TooManyPixels(
            f"the header declares more than {max_pixels} pixels, the limit: send a smaller image"
        ) from exc
    except UnidentifiedImageError as exc:
        raise UnsupportedImage(
            f"{len(data)} bytes that begin with {data[:8]!r} are not one of"
            f" {', '.join(FORMATS)}: convert the image to one of them, or send all of it"
        ) from exc
    except _DECODE_ERRORS as exc:
        raise BrokenImage(
            f"the header of {len(data)} bytes is damaged ({type(exc).__name__}: {exc}):"
            " save the image again and send all of it"
        ) from exc

    if image.format in ("JPEG", "MPO"):  # an MPO holds several JPEGs
        _check_segments(data)
    width, height = image.size
    if width * height > max_pixels:
        raise TooManyPixels(
            f"{width} x {height} = {width * height} pixels; the limit is {max_pixels}:"
            " send a smaller image"
        )
    return image


def _check_segments(data: bytes) -> None:
    """Count the scans and segments of a JPEG up to its end marker; the rest is not decoded."""
    scans = segments = position = 0
    while (found := _MARKER.search(data, position)) and found[1] != _END:
        position = found.end()
        if found[1] != _BEGIN:
            position += int.from_bytes(data[position : position + 2])
        scans += found[1] == _SCAN
        segments += 1
        if scans > MAX_SCANS or segments > MAX_SEGMENTS:
            raise BrokenImage(
                f"the JPEG has more than {MAX_SCANS} scans or {MAX_SEGMENTS} segments:"
                " save the image again"
            )


def decode(image: Image.Image, target_side: int) -> Image.Image:
    """Decode the result of `open_image`; see `decode_upright`.

    Raises:
        BrokenImage: The data is truncated or damaged.
    """
    width, height = image.size
    try:
        image.draft(image.mode, (2 * target_side, 2 * target_side))
        image.load()
        return _to_rgb(_apply_orientation(image))
    except _DECODE_ERRORS as exc:
        raise BrokenImage(
            f"the {image.format} of {width} x {height} px cannot be decoded"
            f" ({type(exc).__name__}: {exc}): save the image again and send all of it"
        ) from exc


def _apply_orientation(image: Image.Image) -> Image.Image:
    try:
        transpose = _TRANSPOSES.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DECODE_ERRORS:
        return image
    return image if transpose is None else image.transpose(transpose)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit values at 255 instead of scaling them.
        values = np.asarray(image, dtype=np.float32) / 257.0
        image = Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(background, image)
    return image.convert("RGB")
