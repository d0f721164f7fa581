"""From the bytes of an image to the pixels that a network sees: the one way, for training's
evaluation and for serving."""

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
NAME: Final = "square-crop/v1"  # written into every card; a change of pixels needs another name

MAX_SCANS = 32  # of a progressive JPEG; encoders make 10, and each goes over the whole image
MAX_SEGMENTS = 10_000  # of a JPEG, such as metadata of 64 KiB each
MAX_TEXT_BYTES = 2**20  # of a PNG, decompressed

Pixels = NDArray[np.uint8]

# Pillow warns of sizes, where our own limit holds, and of metadata, which do no harm.  Set once
# for the process: `warnings.catch_warnings` around each image would not be safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
PngImagePlugin.MAX_TEXT_MEMORY = MAX_TEXT_BYTES

# What Pillow's decoders and readers of metadata raise on damaged bytes.
_DAMAGE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    MemoryError,
    struct.error,
)
# Of a JPEG's segments; within a scan, 0 and the restarts D0 to D7 are none.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")
_BEGIN, _SCAN, _END = b"\xd8", b"\xda", b"\xd9"
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF orientation


def to_pixels(data: bytes, side: int, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode an image, turn it upright, crop its central square and shrink it.

    Args:
        data: An encoded JPEG, PNG, WebP, GIF or BMP of any mode; the first frame of several.
        side: Width and height of the result, px.
        max_pixels: The most pixels that the header may declare; Pillow's own limit, 178,956,970,
            holds above it.

    Returns:
        uint8 [side, side, 3], RGB.

    Raises:
        BadImage: One of its kinds; see `models.errors`.
    """
    return square(upright(data, around=side, max_pixels=max_pixels), side)


def square(image: Image.Image, side: int) -> Pixels:
    """Crop an RGB image's central square and shrink it; uint8 [side, side, 3]."""
    edge = min(image.size)
    left, top = (image.width - edge) / 2, (image.height - edge) / 2
    return np.asarray(
        image.resize(
            (side, side), Image.Resampling.BILINEAR, box=(left, top, left + edge, top + edge)
        )
    )


def upright(data: bytes, around: int, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image as RGB, turned as its EXIF orientation says; damaged EXIF turns nothing.

    A JPEG may come out smaller than it was stored, but with no edge below 2 x `around` px unless
    it had one: its decoder scales by 1/2, 1/4 or 1/8 for a fraction of the work.

    Raises:
        BadImage: One of its kinds; see `models.errors`.
    """
    return decoded(opened(data, max_pixels=max_pixels), around)


def opened(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read an image's header; nothing is decoded yet.

    Raises:
        BadImage: One of its kinds; see `models.errors`.
    """
    if not data:
        raise EmptyImage(f"no bytes came; send the image itself ({', '.join(FORMATS)})")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as exc:
        raise TooManyPixels(
            f"the header declares more pixels than the {max_pixels} that are read:"
            " send a smaller image"
        ) from exc
    except UnidentifiedImageError as exc:
        raise UnsupportedImage(
            f"{len(data)} bytes that begin with {data[:8]!r} cannot be read as any of"
            f" {', '.join(FORMATS)}: convert the image to one of them, or send all of it"
        ) from exc
    except _DAMAGE as exc:
        raise BrokenImage(
            f"the header of {len(data)} bytes is damaged ({type(exc).__name__}: {exc}):"
            " save the image anew and send all of it"
        ) from exc

    if image.format in ("JPEG", "MPO"):  # the latter has more images behind it
        _check_segments(data)
    width, height = image.size
    if width * height > max_pixels:
        raise TooManyPixels(
            f"{width} x {height} = {width * height} pixels; at most {max_pixels} are read:"
            " send a smaller image"
        )
    return image


def _check_segments(data: bytes) -> None:
    """Of a JPEG, from its beginning to its end; what follows is not decoded."""
    scans = segments = place = 0
    while (found := _MARKER.search(data, place)) and found[1] != _END:
        place = found.end()
        if found[1] != _BEGIN:
            place += int.from_bytes(data[place : place + 2])
        scans += found[1] == _SCAN
        segments += 1
        if scans > MAX_SCANS or segments > MAX_SEGMENTS:
            raise BrokenImage(
                f"the JPEG has more than {MAX_SCANS} scans or {MAX_SEGMENTS} segments:"
                " save the image anew"
            )


def decoded(image: Image.Image, around: int) -> Image.Image:
    """Decode what `opened` gave; see `upright`.

    Raises:
        BrokenImage: It is truncated or damaged.
    """
    width, height = image.size
    try:
        image.draft(image.mode, (2 * around, 2 * around))
        image.load()
        return _rgb(_turned(image))
    except _DAMAGE as exc:
        raise BrokenImage(
            f"the {image.format} of {width} x {height} px cannot be decoded"
            f" ({type(exc).__name__}: {exc}): save the image anew and send all of it"
        ) from exc


def _turned(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DAMAGE:
        return image
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow's own conversion clips 16 bits at 255 instead of scaling them.
        values = np.asarray(image, dtype=np.float32) / 257.0
        image = Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image.convert("RGB")
