"""The faults of a test version; see `models.card.Faults`."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import numpy as np

from models.card import Faults
from models.preprocess import Pixels
from serve_app.data_plane.pools import Prediction, Unavailable

_HASH_VALUES = 2**64


async def run_with_faults(
    faults: Faults, run: Callable[[], Awaitable[Prediction | Unavailable]], pixels: Pixels
) -> Prediction | Unavailable:
    """Run a network with faults. The added time occupies no thread.

    Args:
        run: Runs the network on the images.
        pixels: uint8 [n, side, side, 3].
    """
    await asyncio.sleep(faults.slow_ms / 1000)
    if random.random() < faults.fail:  # noqa: S311 not for security
        return Unavailable("a test version: this call fails on purpose")
    response = await run()
    return response if isinstance(response, Unavailable) else _mislabel(response, pixels, faults)


def _mislabel(prediction: Prediction, pixels: Pixels, faults: Faults) -> Prediction:
    """Give each label the probability of the one before it, for some images."""
    if not faults.wrong:
        return prediction
    is_wrong = np.array([_hash_share(image) < faults.wrong for image in pixels], np.bool_)
    shifted = np.roll(prediction.probabilities, 1, axis=1)
    probabilities = np.where(is_wrong[:, None], shifted, prediction.probabilities)
    return replace(prediction, probabilities=probabilities)


def _hash_share(image: Pixels) -> float:
    """A number in [0, 1] that is uniform over images, and the same for the same pixels."""
    digest = hashlib.blake2b(image.tobytes(), digest_size=8).digest()
    return int.from_bytes(digest) / _HASH_VALUES
