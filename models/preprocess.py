"""Converts an encoded image to network input; shared by evaluation and serving."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from models.errors import BadImage, BrokenImage, EmptyImage, TooManyPixels, UnsupportedImage
from models.formats import bmp, gif, jpeg, png, webp
from models.formats.orientation import UPRIGHT
from models.formats.parts import MAX_FULL_PIXELS, Parts
from models.formats.unsupported import recognize

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
# Stands in every card. Change it if the same image would give other pixels.
PREPROCESSING: Final = "square-crop/v1"

Pixels = NDArray[np.uint8]

# Pillow warns of large images, for which `models.formats` has limits. The filter is global because
# `warnings.catch_warnings` is not thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Raised by Pillow's decoders for damaged bytes.
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


def _open_bmp(file: BytesIO) -> ImageFile.ImageFile:
    return BmpImagePlugin.BmpImageFile(BytesIO(bmp.without_runs(file.getvalue())))


_DECODERS: dict[str, Callable[[BytesIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": _open_bmp,
}
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF orientation


def to_pixels(data: bytes, side: int) -> Pixels:
    """Decode an image, apply its orientation, crop the central square and resize it.

    Args:
        data: A JPEG, PNG, WebP, GIF or BMP of any mode; only the first frame is used.
        side: Width and height of the result, px.

    Returns:
        uint8 [side, side, 3], RGB.

    Raises:
        BadImage: One of its subclasses; see `models.errors`.
    """
    return crop_square(decode_upright(data, target_side=side), side)


def crop_square(image: Image.Image, side: int) -> Pixels:
    """Crop the central square of an RGB image and resize it; uint8 [side, side, 3]."""
    edge = min(image.size)
    left, top = (image.width - edge) / 2, (image.height - edge) / 2
    return np.asarray(
        image.resize(
            (side, side), Image.Resampling.BILINEAR, box=(left, top, left + edge, top + edge)
        )
    )


def decode_upright(data: bytes, target_side: int) -> Image.Image:
    """Decode an image to RGB and apply its orientation; damaged metadata is ignored.

    A JPEG may be scaled by 1/2, 1/4 or 1/8 while decoding, which is faster. Its edges keep at
    least 2 x `target_side` px if they had as many.

    Raises:
        BadImage: One of its subclasses; see `models.errors`.
    """
    return decode(read_parts(data), target_side)


def read_parts(data: bytes) -> Parts:
    """Read the structure of an image without decoding it.

    Raises:
        BadImage: One of its subclasses; see `models.errors`.
    """
    if not data:
        raise EmptyImage(f"the image is empty; send an image as {', '.join(FORMATS)}")
    if data.startswith(jpeg.START):
        return jpeg.read_parts(data)
    if data.startswith(png.SIGNATURE):
        return png.read_parts(data)
    if data.startswith(webp.SIGNATURE) and data.startswith(webp.FORM, 8):
        return webp.read_parts(data)
    if data.startswith(gif.SIGNATURES):
        return gif.read_parts(data)
    if data.startswith(bmp.SIGNATURE):
        return bmp.read_parts(data)
    known = recognize(data)
    name, advice = known or ("", "convert the image to one of them, or send all of it")
    raise UnsupportedImage(
        f"{len(data)} bytes that begin with {data[:8]!r} are {name and f'{name}, '}not one of"
        f" {', '.join(FORMATS)}: {advice}"
    )


def decode(parts: Parts, target_side: int) -> Image.Image:
    """Decode the result of `read_parts`; see `decode_upright`.

    Raises:
        BadImage: One of its subclasses; see `models.errors`.
    """
    try:
        image = _DECODERS[parts.format](BytesIO(parts.data))
        image.draft(image.mode, (2 * target_side, 2 * target_side))
        _check_decoded_size(image, parts)
        image.load()
        return _apply_orientation(_to_rgb(image), parts.orientation)
    except BadImage:
        raise
    except _DECODE_ERRORS as exc:
        name = f"the {parts.format} of {parts.width} x {parts.height} px"
        if "truncated" in str(exc):
            raise BrokenImage(f"{name} ends early: pixels are missing: send all of it") from exc
        if str(exc).startswith("Unsupported BMP"):
            raise UnsupportedImage(f"{name}: {exc}: save the image as a PNG") from exc
        raise BrokenImage(
            f"{name} cannot be decoded ({type(exc).__name__}: {exc}):"
            " save the image again and send all of it"
        ) from exc


def _check_decoded_size(image: Image.Image, parts: Parts) -> None:
    if image.width * image.height > MAX_FULL_PIXELS:
        raise TooManyPixels(
            f"the {parts.format} of {parts.width} x {parts.height} px is too narrow to be decoded"
            f" in a smaller size; the limit is then {MAX_FULL_PIXELS} pixels: send a smaller image"
        )


def _apply_orientation(image: Image.Image, orientation: int) -> Image.Image:
    return image if orientation == UPRIGHT else image.transpose(_TRANSPOSES[orientation])


def _to_rgb(image: ImageFile.ImageFile) -> Image.Image:
    pixels: Image.Image = image
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit values at 255 instead of scaling them.
        values = np.asarray(image, dtype=np.float32) / 257.0
        pixels = Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    if image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getbbox() is None:
        return image.convert("RGB")  # an alpha channel that was never written, as browsers see it
    if pixels.has_transparency_data:
        pixels = pixels.convert("RGBA")
        background = Image.new("RGBA", pixels.size, "white")
        pixels = Image.alpha_composite(background, pixels)
    return pixels.convert("RGB")
