"""The images of a request, decoded when a pool needs their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from PIL import Image

from models.errors import BadImage, TooManyPixels
from models.formats.parts import MAX_PIXELS, Parts
from models.preprocess import Pixels, crop_square, decode, read_parts
from serve_app.data_plane.decoders import LARGE, SMALL
from serve_app.errors import UnusableImage

LARGE_PX = 5_000_000  # of a PNG; decoded and resized in 50 ms or less
QUICK_BYTES = 32_768  # parsed in 2 ms or less
QUICK_PIXELS = 300_000  # width x height; decoded and resized in 2 ms or less


class InputImage(Protocol):
    """One image of a request."""

    def is_quick(self) -> bool:
        """Whether decoding it takes less time than a hop to a thread.

        Raises:
            BadImage: It has no header.
        """
        ...

    def area(self) -> int:
        """Width x height, px, as the header says.

        Raises:
            BadImage: It has no header.
        """
        ...

    def work_px(self) -> int:
        """Preparing it takes at most as long as decoding a PNG of so many pixels.

        Raises:
            BadImage: It has no header.
        """
        ...

    def pixels(self, side: int) -> Pixels:
        """uint8 [side, side, 3].

        Raises:
            BadImage: It cannot be read.
        """
        ...

    def content(self) -> bytes:
        """Bytes that identify the image."""
        ...

    def preview(self, max_side: int) -> bytes:
        """A JPEG of the whole image, no side longer than `max_side` px, without metadata.

        Raises:
            BadImage: It cannot be read.
        """
        ...


class EncodedImage:
    """An `InputImage` from the bytes of a JPEG, PNG, WebP, GIF or BMP file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._parts: Parts | None = None

    def is_quick(self) -> bool:
        return (
            len(self._data) <= QUICK_BYTES
            and self.area() <= QUICK_PIXELS
            and self.work_px() <= QUICK_PIXELS
        )

    def area(self) -> int:
        return self._read_parts().area

    def work_px(self) -> int:
        return self._read_parts().work_px

    def pixels(self, side: int) -> Pixels:
        parts, self._parts = self._read_parts(), None
        return crop_square(decode(parts, target_side=side), side)

    def content(self) -> bytes:
        return self._data

    def preview(self, max_side: int) -> bytes:
        parts = read_parts(self._data)
        return _encode_jpeg(decode(parts, target_side=max_side // 2), max_side)

    def _read_parts(self) -> Parts:
        self._parts = self._parts or read_parts(self._data)
        return self._parts


class RawImage:
    """An `InputImage` from RGB values [height, width, 3] of 0 to 255."""

    def __init__(self, values: np.ndarray[Any, Any], *, scaled: bool) -> None:
        """
        Args:
            scaled: Values that are all at most 1 range from 0 to 1 instead.
        """
        self._values = values
        self._scaled = scaled

    def is_quick(self) -> bool:
        return self.area() <= QUICK_PIXELS

    def area(self) -> int:
        return self._values.size // 3

    def work_px(self) -> int:
        return self.area()

    def pixels(self, side: int) -> Pixels:
        return crop_square(self._image(), side)

    def content(self) -> bytes:
        return f"{self._values.shape} {self._values.dtype} ".encode() + self._values.tobytes()

    def preview(self, max_side: int) -> bytes:
        return _encode_jpeg(self._image(), max_side)

    def _image(self) -> Image.Image:
        values = self._values
        if self._scaled and values.max() <= 1:
            values = values * 255
        return Image.fromarray(values.round().astype(np.uint8))


class PreparedImages:
    """The images of one request; each input size is prepared once for all versions."""

    def __init__(self, images: Sequence[InputImage]) -> None:
        self._images = images
        self._pixels: dict[int, Pixels] = {}  # by side

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> InputImage:
        return self._images[index]

    async def pixels(self, side: int) -> Pixels:
        """uint8 [n, side, side, 3].

        Raises:
            UnusableImage: An image cannot be read.
            Busy: Too many requests are being decoded.
            TooSlow: They were not decoded in time.
        """
        if side not in self._pixels:
            try:
                self._pixels[side] = await self._prepare(side)
            except BadImage as exc:
                raise UnusableImage(exc.code, str(exc)) from exc
        return self._pixels[side]

    async def _prepare(self, side: int) -> Pixels:
        if len(self._images) == 1 and self._images[0].is_quick():
            return self._images[0].pixels(side)[np.newaxis]
        pixels = await SMALL.run(self._decode_if_small, side)
        return await LARGE.run(self._decode, side) if pixels is None else pixels

    def _decode_if_small(self, side: int) -> Pixels | None:
        """The pixels of all images; None if decoding them would delay small requests."""
        area = sum(image.area() for image in self._images)
        if area > MAX_PIXELS:
            raise TooManyPixels(
                f"{len(self._images)} images have {area} pixels; the limit is {MAX_PIXELS} per"
                " request: send fewer or smaller images"
            )
        is_large = sum(image.work_px() for image in self._images) > LARGE_PX
        return None if is_large else self._decode(side)

    def _decode(self, side: int) -> Pixels:
        """Decode all images in one thread, so that a large request does not block the others."""
        return np.stack([image.pixels(side) for image in self._images])


def _encode_jpeg(image: Image.Image, max_side: int) -> bytes:
    image.thumbnail((max_side, max_side))
    image.info.clear()  # Pillow would copy the comment of the original
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=85)
    return encoded.getvalue()
