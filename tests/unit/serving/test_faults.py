"""The faults of test versions."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from models.card import Faults
from models.preprocess import Pixels
from serve_app.data_plane.pools import Prediction, Unavailable
from serve_app.serving.faults import run_with_faults

IMAGES = np.random.default_rng(1).integers(0, 256, (400, 8, 8, 3), np.uint8)
LABELS = ("cat", "dog", "koala")


def run(faults: Faults, pixels: Pixels = IMAGES) -> Prediction | Unavailable:
    """The response of a network that predicts cat for all images."""

    async def predict() -> Prediction:
        row = np.array([0.7, 0.2, 0.1], np.float32)
        return Prediction("v102", LABELS, np.tile(row, (len(pixels), 1)), 1.0)

    return asyncio.run(run_with_faults(faults, predict, pixels))


def labels(faults: Faults, pixels: Pixels = IMAGES) -> list[str]:
    response = run(faults, pixels)
    assert isinstance(response, Prediction)
    assert response.probabilities.sum(axis=1) == pytest.approx(1)
    return [response.top_label(image)[0] for image in range(len(pixels))]


def test_a_share_of_the_images_gets_a_wrong_label() -> None:
    found = labels(Faults(wrong=0.3))
    assert set(found) == {"cat", "dog"}
    assert 0.2 < found.count("dog") / len(found) < 0.4
    assert labels(Faults(wrong=1)) == ["dog"] * len(IMAGES)


def test_an_image_always_gets_the_same_label() -> None:
    """Alone and in any batch, and a larger share keeps the wrong ones."""
    few, many = labels(Faults(wrong=0.2)), labels(Faults(wrong=0.5))
    assert few[::-1] == labels(Faults(wrong=0.2), IMAGES[::-1])
    assert [label for image in IMAGES[:20] for label in labels(Faults(wrong=0.2), image[None])] == (
        few[:20]
    )
    assert all(new == "dog" for old, new in zip(few, many, strict=True) if old == "dog")


def test_a_share_of_the_calls_fails() -> None:
    failed = sum(isinstance(run(Faults(fail=0.5), IMAGES[:1]), Unavailable) for _ in range(200))
    assert 60 < failed < 140
    assert isinstance(run(Faults(fail=1), IMAGES[:1]), Unavailable)


def test_slow_calls_wait_at_the_same_time() -> None:
    """The event loop goes on, and one call does not wait for another."""
    waiting, most = 0, 0

    async def predict() -> Unavailable:
        return Unavailable("none")

    async def call() -> None:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await run_with_faults(Faults(slow_ms=20), predict, IMAGES[:1])
        waiting -= 1

    async def calls() -> None:
        await asyncio.gather(*(call() for _ in range(20)))

    asyncio.run(calls())
    assert most == 20
