"""Tests of image decoding: which images are quick, and that both paths give the same pixels."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from models.errors import EmptyImage, UnsupportedImage
from models.preprocess import Pixels, to_pixels
from serve_app.data_plane.images import (
    LARGE_PX,
    QUICK_BYTES,
    EncodedImage,
    PreparedImages,
    RawImage,
)
from serve_app.errors import Busy, Problem, UnusableImage
from tests.image_files import bmp
from tests.unit.service import image


def encoded(width: int, height: int, kind: str = "PNG") -> bytes:
    content = BytesIO()
    Image.new("RGB", (width, height), "teal").save(content, kind)
    return content.getvalue()


def test_a_small_image_is_quick() -> None:
    assert EncodedImage(encoded(500, 500)).is_quick()


def test_a_small_file_with_many_pixels_is_not_quick() -> None:
    """A few kilobytes may decode to megapixels, which would block the event loop."""
    data = encoded(2000, 2000)
    assert len(data) < QUICK_BYTES
    assert not EncodedImage(data).is_quick()


def test_a_small_file_of_many_run_lengths_is_not_quick() -> None:
    """They are unpacked one by one."""
    assert not EncodedImage(bmp(100, 100, b"\1\7" * 40_000, bits=8, compression=1)).is_quick()
    assert EncodedImage(bmp(100, 100, b"\x64\7\0\0" * 100, bits=8, compression=1)).is_quick()


def test_a_large_file_is_not_quick_and_not_opened() -> None:
    assert not EncodedImage(b"no image" * QUICK_BYTES).is_quick()


@pytest.mark.parametrize(("data", "error"), [(b"", EmptyImage), (b"none", UnsupportedImage)])
def test_bytes_that_are_no_image_are_rejected(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        EncodedImage(data).is_quick()


@pytest.mark.parametrize("checks_is_quick", [True, False])
def test_the_pixels_are_those_of_to_pixels(
    checks_is_quick: bool,
) -> None:
    data = image("koala", 3, "JPEG")
    sent = EncodedImage(data)
    if checks_is_quick:
        assert sent.is_quick()
    for side in (112, 64):
        assert np.array_equal(sent.pixels(side), to_pixels(data, side))


@pytest.mark.parametrize(("values", "scaled"), [(255.0, True), (1.0, True), (255.0, False)])
def test_raw_values_are_scaled_if_they_are_at_most_1(values: float, scaled: bool) -> None:
    raw = RawImage(np.full((8, 8, 3), values, np.float32), scaled=scaled)
    assert (raw.pixels(4) == 255).all()


def test_integers_are_not_scaled() -> None:
    assert (RawImage(np.ones((8, 8, 3), np.uint8), scaled=False).pixels(4) == 1).all()


class CountingImage(EncodedImage):
    """Records the sides it is decoded to."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.decoded_sides: list[int] = []

    def pixels(self, side: int) -> Pixels:
        self.decoded_sides.append(side)
        return super().pixels(side)


@pytest.mark.parametrize("count", [1, 3])
def test_each_size_is_decoded_once(count: int) -> None:
    """A fallback and the copy of a shadow reuse the pixels."""
    data = [image("koala", seed) for seed in range(count)]
    images = [CountingImage(each) for each in data]

    async def check() -> None:
        prepared = PreparedImages(images)
        assert len(prepared) == count
        for side in (112, 56, 112, 56):
            pixels = await prepared.pixels(side)
            assert np.array_equal(pixels, np.stack([to_pixels(each, side) for each in data]))

    asyncio.run(check())
    assert [each.decoded_sides for each in images] == [[112, 56]] * count


@pytest.mark.parametrize("data", [[b""], [image("cat"), b""], [b"", image("cat")]])
def test_one_broken_image_fails_the_request_with_its_code(data: list[bytes]) -> None:
    async def check() -> None:
        prepared = PreparedImages([EncodedImage(each) for each in data])
        for _ in range(2):
            with pytest.raises(UnusableImage) as caught:
                await prepared.pixels(112)
            assert caught.value.code == "empty_image"

    asyncio.run(check())


def refusal(data: Sequence[bytes]) -> Problem:
    """The error of a request with these images."""

    async def prepare() -> None:
        await PreparedImages([EncodedImage(each) for each in data]).pixels(112)

    with pytest.raises(Problem) as caught:
        asyncio.run(prepare())
    return caught.value


def test_the_pixel_limit_is_per_request() -> None:
    """A file of a few kilobytes may have 24 megapixels: three of them are not decoded."""
    problem = refusal([encoded(4900, 4900, "JPEG")] * 3)
    assert problem.code == "too_many_pixels"
    assert str(problem).startswith("3 images have 72030000 pixels; the limit is 65000000 per")


def test_large_images_have_few_places_and_do_not_delay_small_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = threading.Event()
    decode = PreparedImages._decode

    def decode_later(images: PreparedImages, side: int) -> Pixels:
        if images[0].work_px() > LARGE_PX:
            gate.wait()
        return decode(images, side)

    monkeypatch.setattr(PreparedImages, "_decode", decode_later)
    large, small = encoded(2_500, 2_100), encoded(600, 600)

    async def check() -> None:
        waiting = [
            asyncio.create_task(PreparedImages([EncodedImage(large)]).pixels(112))
            for _ in range(20)
        ]
        try:
            assert (await PreparedImages([EncodedImage(small)]).pixels(112)).shape[0] == 1
        finally:
            gate.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        refused = [result for result in results if isinstance(result, Busy)]
        assert 0 < len(refused) < len(results)
        assert {type(result) for result in results} == {Busy, np.ndarray}

    asyncio.run(check())


def test_a_jpeg_too_narrow_to_be_scaled_is_large() -> None:
    assert EncodedImage(encoded(65_000, 384, "JPEG")).work_px() > LARGE_PX


def test_a_photograph_of_a_phone_is_not_large() -> None:
    """Its decoder produces an eighth of its size."""
    assert EncodedImage(encoded(4_080, 3_072, "JPEG")).work_px() <= LARGE_PX
    assert EncodedImage(encoded(2_500, 2_100, "PNG")).work_px() > LARGE_PX
