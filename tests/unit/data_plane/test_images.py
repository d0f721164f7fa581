"""Images on their way to pixels: which are quick, and that the way makes no difference."""

from __future__ import annotations

import asyncio
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from models.errors import EmptyImage, UnsupportedImage
from models.preprocess import Pixels, to_pixels
from serve_app.data_plane.images import QUICK_BYTES, EncodedImage, PreparedImages, RawImage
from serve_app.errors import UnusableImage
from tests.unit.service import image


def encoded(width: int, height: int, kind: str = "PNG") -> bytes:
    content = BytesIO()
    Image.new("RGB", (width, height), "teal").save(content, kind)
    return content.getvalue()


def test_a_small_image_is_quick() -> None:
    assert EncodedImage(encoded(500, 500)).is_quick()


def test_a_small_file_of_many_pixels_is_not() -> None:
    """It would hold up the event loop: a few kilobytes may decode to megapixels."""
    data = encoded(3000, 3000)
    assert len(data) < QUICK_BYTES
    assert not EncodedImage(data).is_quick()


def test_a_large_file_is_not_even_opened() -> None:
    assert not EncodedImage(b"no image" * QUICK_BYTES).is_quick()


@pytest.mark.parametrize(("data", "error"), [(b"", EmptyImage), (b"none", UnsupportedImage)])
def test_what_is_no_image_is_rejected(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        EncodedImage(data).is_quick()


@pytest.mark.parametrize("asked_first", [True, False])
def test_the_pixels_are_those_of_evaluation_however_often_they_are_asked_for(
    asked_first: bool,
) -> None:
    data = image("koala", 3, "JPEG")
    sent = EncodedImage(data)
    if asked_first:
        assert sent.is_quick()
    for side in (112, 64):
        assert np.array_equal(sent.pixels(side), to_pixels(data, side))


@pytest.mark.parametrize(("values", "scaled"), [(255.0, True), (1.0, True), (255.0, False)])
def test_raw_values_may_be_scaled(values: float, scaled: bool) -> None:
    raw = RawImage(np.full((8, 8, 3), values, np.float32), scaled=scaled)
    assert (raw.pixels(4) == 255).all()


def test_integers_are_never_scaled() -> None:
    assert (RawImage(np.ones((8, 8, 3), np.uint8), scaled=False).pixels(4) == 1).all()


class Counted(EncodedImage):
    """Counts how often it is decoded."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.decoded: list[int] = []

    def pixels(self, side: int) -> Pixels:
        self.decoded.append(side)
        return super().pixels(side)


@pytest.mark.parametrize("count", [1, 3])
def test_each_size_is_made_once_for_whichever_version_takes_it(count: int) -> None:
    """A fallback, and the copy of a shadow, decode nothing again."""
    data = [image("koala", seed) for seed in range(count)]
    images = [Counted(each) for each in data]

    async def asked() -> None:
        prepared = PreparedImages(images)
        assert len(prepared) == count
        for side in (112, 56, 112, 56):
            pixels = await prepared.at(side)
            assert np.array_equal(pixels, np.stack([to_pixels(each, side) for each in data]))

    asyncio.run(asked())
    assert [each.decoded for each in images] == [[112, 56]] * count


@pytest.mark.parametrize("data", [[b""], [image("cat"), b""], [b"", image("cat")]])
def test_one_broken_image_fails_all_with_its_kind_each_time(data: list[bytes]) -> None:
    async def asked() -> None:
        prepared = PreparedImages([EncodedImage(each) for each in data])
        for _ in range(2):
            with pytest.raises(UnusableImage) as caught:
                await prepared.at(112)
            assert caught.value.code == "empty_image"

    asyncio.run(asked())


def test_the_pixels_of_a_request_are_counted_together() -> None:
    """A few kilobytes may be 49 megapixels: of sixty such, none is decoded."""
    one = encoded(7000, 7000)

    async def asked() -> None:
        with pytest.raises(UnusableImage) as caught:
            await PreparedImages([EncodedImage(one), EncodedImage(one)]).at(112)
        assert caught.value.code == "too_many_pixels"
        assert str(caught.value).startswith("2 images have 98000000 pixels; at most 50000000")

    asyncio.run(asked())
