"""Pictures on their way to pixels: which are quick, and that the way makes no difference."""

from __future__ import annotations

import asyncio
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from models.errors import EmptyImage, UnsupportedImage
from models.preprocess import Pixels, to_pixels
from serve_app.data_plane.pictures import QUICK_BYTES, EncodedPicture, Prepared, RawPicture
from serve_app.errors import BadPicture
from tests.unit.service import picture


def encoded(width: int, height: int, kind: str = "PNG") -> bytes:
    content = BytesIO()
    Image.new("RGB", (width, height), "teal").save(content, kind)
    return content.getvalue()


def test_a_small_picture_is_quick() -> None:
    assert EncodedPicture(encoded(500, 500)).is_quick()


def test_a_small_file_of_many_pixels_is_not() -> None:
    """It would hold up the event loop: a few kilobytes may decode to megapixels."""
    data = encoded(3000, 3000)
    assert len(data) < QUICK_BYTES
    assert not EncodedPicture(data).is_quick()


def test_a_large_file_is_not_even_opened() -> None:
    assert not EncodedPicture(b"no picture" * QUICK_BYTES).is_quick()


@pytest.mark.parametrize(("data", "error"), [(b"", EmptyImage), (b"none", UnsupportedImage)])
def test_what_is_no_picture_is_refused(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        EncodedPicture(data).is_quick()


@pytest.mark.parametrize("asked_first", [True, False])
def test_the_pixels_are_those_of_evaluation_however_often_they_are_asked_for(
    asked_first: bool,
) -> None:
    data = picture("koala", 3, "JPEG")
    sent = EncodedPicture(data)
    if asked_first:
        assert sent.is_quick()
    for side in (112, 64):
        assert np.array_equal(sent.pixels(side), to_pixels(data, side))


@pytest.mark.parametrize(("values", "scaled"), [(255.0, True), (1.0, True), (255.0, False)])
def test_raw_values_may_be_scaled(values: float, scaled: bool) -> None:
    raw = RawPicture(np.full((8, 8, 3), values, np.float32), scaled=scaled)
    assert (raw.pixels(4) == 255).all()


def test_integers_are_never_scaled() -> None:
    assert (RawPicture(np.ones((8, 8, 3), np.uint8), scaled=False).pixels(4) == 1).all()


class Counted(EncodedPicture):
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
    data = [picture("koala", seed) for seed in range(count)]
    pictures = [Counted(each) for each in data]

    async def asked() -> None:
        prepared = Prepared(pictures)
        assert len(prepared) == count
        for side in (112, 56, 112, 56):
            pixels = await prepared.at(side)
            assert np.array_equal(pixels, np.stack([to_pixels(each, side) for each in data]))

    asyncio.run(asked())
    assert [each.decoded for each in pictures] == [[112, 56]] * count


@pytest.mark.parametrize("data", [[b""], [picture("cat"), b""], [b"", picture("cat")]])
def test_one_broken_picture_fails_all_with_its_kind_each_time(data: list[bytes]) -> None:
    async def asked() -> None:
        prepared = Prepared([EncodedPicture(each) for each in data])
        for _ in range(2):
            with pytest.raises(BadPicture) as caught:
                await prepared.at(112)
            assert caught.value.code == "empty_image"

    asyncio.run(asked())


def test_the_pixels_of_a_request_are_counted_together() -> None:
    """A few kilobytes may be 49 megapixels: of sixty such, none is decoded."""
    one = encoded(7000, 7000)

    async def asked() -> None:
        with pytest.raises(BadPicture) as caught:
            await Prepared([EncodedPicture(one), EncodedPicture(one)]).at(112)
        assert caught.value.code == "too_many_pixels"
        assert str(caught.value).startswith("2 pictures have 98000000 pixels; at most 50000000")

    asyncio.run(asked())
