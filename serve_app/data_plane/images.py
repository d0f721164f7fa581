"""The images of a request, decoded when a pool needs their pixels."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from PIL import Image

from models.errors import BadImage, TooManyPixels
from models.preprocess import MAX_PIXELS, Pixels, crop_square, decode, open_image
from serve_app.errors import UnusableImage

DECODERS = ThreadPoolExecutor(2, thread_name_prefix="decode")
QUICK_BYTES = 100_000
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
        self._opened: Image.Image | None = None

    def is_quick(self) -> bool:
        return len(self._data) <= QUICK_BYTES and self.area() <= QUICK_PIXELS

    def area(self) -> int:
        self._opened = self._opened or open_image(self._data)
        return self._opened.width * self._opened.height

    def pixels(self, side: int) -> Pixels:
        image, self._opened = self._opened or open_image(self._data), None
        return crop_square(decode(image, target_side=side), side)

    def content(self) -> bytes:
        return self._data

    def preview(self, max_side: int) -> bytes:
        return _encode_jpeg(decode(open_image(self._data), target_side=max_side // 2), max_side)


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
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(DECODERS, self._decode, side)

    def _decode(self, side: int) -> Pixels:
        """Decode all images in one thread, so that a large request does not block the others."""
        area = sum(image.area() for image in self._images)
        if area > MAX_PIXELS:
            raise TooManyPixels(
                f"{len(self._images)} images have {area} pixels; the limit is {MAX_PIXELS} per"
                " request: send fewer or smaller images"
            )
        return np.stack([image.pixels(side) for image in self._images])


def _encode_jpeg(image: Image.Image, max_side: int) -> bytes:
    image.thumbnail((max_side, max_side))
    image.info.clear()  # Pillow would copy the comment of the original
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=85)
    return encoded.getvalue()
