"""The images of a request, until their pixels are needed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from PIL import Image

from models.errors import BadImage, TooManyPixels
from models.preprocess import MAX_PIXELS, Pixels, decoded, opened, square
from serve_app.errors import UnusableImage

DECODERS = ThreadPoolExecutor(2, thread_name_prefix="decode")
QUICK_BYTES = 100_000
QUICK_PIXELS = 300_000  # width x height; decoded and shrunk in 2 ms or less


class InputImage(Protocol):
    """One image."""

    def is_quick(self) -> bool:
        """Whether its pixels cost less than the way to a thread and back."""
        ...

    def area(self) -> int:
        """Width x height, px, as far as is known before it is decoded.

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
        """What tells it from other images."""
        ...

    def preview(self, longest: int) -> bytes:
        """A JPEG of all of it, no side longer than that, px, without metadata.

        Raises:
            BadImage: It cannot be read.
        """
        ...


class EncodedImage:
    """An image as it came: a JPEG, PNG, WebP, GIF or BMP."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._opened: Image.Image | None = None

    def is_quick(self) -> bool:
        """See `InputImage.is_quick`; reads the header of a small file.

        Raises:
            BadImage: It has none.
        """
        return len(self._data) <= QUICK_BYTES and self.area() <= QUICK_PIXELS

    def area(self) -> int:
        """See `InputImage.area`."""
        self._opened = self._opened or opened(self._data)
        return self._opened.width * self._opened.height

    def pixels(self, side: int) -> Pixels:
        """See `InputImage.pixels`."""
        image, self._opened = self._opened or opened(self._data), None
        return square(decoded(image, around=side), side)

    def content(self) -> bytes:
        """See `InputImage.content`."""
        return self._data

    def preview(self, longest: int) -> bytes:
        """See `InputImage.preview`."""
        return _jpeg(decoded(opened(self._data), around=longest // 2), longest)


class RawImage:
    """RGB values [height, width, 3] of 0 to 255."""

    def __init__(self, values: np.ndarray[Any, Any], *, scaled: bool) -> None:
        """`scaled` values that are at most 1 are meant as 0 to 1."""
        self._values = values
        self._scaled = scaled

    def is_quick(self) -> bool:
        """See `InputImage.is_quick`."""
        return self.area() <= QUICK_PIXELS

    def area(self) -> int:
        """See `InputImage.area`."""
        return self._values.size // 3

    def pixels(self, side: int) -> Pixels:
        """See `InputImage.pixels`."""
        return square(self._image(), side)

    def content(self) -> bytes:
        """See `InputImage.content`."""
        return f"{self._values.shape} {self._values.dtype} ".encode() + self._values.tobytes()

    def preview(self, longest: int) -> bytes:
        """See `InputImage.preview`."""
        return _jpeg(self._image(), longest)

    def _image(self) -> Image.Image:
        values = self._values
        if self._scaled and values.max() <= 1:
            values = values * 255
        return Image.fromarray(values.round().astype(np.uint8))


class PreparedImages:
    """The images of one request, each size made once for whichever version takes it."""

    def __init__(self, images: Sequence[InputImage]) -> None:
        self._images = images
        self._made: dict[int, Pixels] = {}

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, number: int) -> InputImage:
        return self._images[number]

    async def at(self, side: int) -> Pixels:
        """uint8 [n, side, side, 3].

        Raises:
            UnusableImage: One cannot be read.
        """
        if side not in self._made:
            try:
                self._made[side] = await self._make(side)
            except BadImage as exc:
                raise UnusableImage(exc.code, str(exc)) from exc
        return self._made[side]

    async def _make(self, side: int) -> Pixels:
        if len(self._images) == 1 and self._images[0].is_quick():
            return self._images[0].pixels(side)[np.newaxis]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(DECODERS, self._decode, side)

    def _decode(self, side: int) -> Pixels:
        """One thread for all of a request, so that many images keep nobody else waiting."""
        area = sum(image.area() for image in self._images)
        if area > MAX_PIXELS:
            raise TooManyPixels(
                f"{len(self._images)} images have {area} pixels; at most {MAX_PIXELS} are read"
                " of a request: send fewer, or smaller ones"
            )
        return np.stack([image.pixels(side) for image in self._images])


def _jpeg(image: Image.Image, longest: int) -> bytes:
    image.thumbnail((longest, longest))
    image.info.clear()  # Pillow would write a comment that came with the image
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=85)
    return encoded.getvalue()
