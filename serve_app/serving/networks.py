"""Runs the networks of a replica in a thread, or in the event loop where that is faster."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from models.classifier import Classifier
from models.preprocess import Pixels
from serve_app.data_plane.pools import Prediction, Unavailable

LOW_PRIORITY = 10  # added to a thread's niceness
# A run in a thread costs 0.2 ms more CPU time and 0.2 ms more latency, a fifth of a small network's
# time. A network that takes less than this may block the event loop instead.
INLINE_MS = 3.0


class NetworkRunner:
    """Runs one batch at a time.

    A batch runs in a thread, so that it does not block calls and health checks. A single image
    runs in the event loop if no batch is running and the version's last single image took less
    than `INLINE_MS`.
    """

    def __init__(self) -> None:
        self._is_background = False
        self._thread = one_thread("network", low_priority=False)
        self._batches = 0  # running in the thread or queued
        self._single_ms: dict[str, float] = {}  # by version, the time of its last single image

    def set_background(self, background: bool) -> None:
        """Run the next batches at low priority, or at normal priority."""
        if background == self._is_background:
            return
        self._is_background = background
        self._thread.shutdown(wait=False)  # queued batches still run
        self._thread = one_thread("network", low_priority=background)

    async def run(self, classifier: Classifier, pixels: Pixels) -> Prediction | Unavailable:
        """Classify images, uint8 [n, side, side, 3]."""
        if self._can_run_inline(classifier.card.version, pixels):
            return self._classify(classifier, pixels)
        loop = asyncio.get_running_loop()
        self._batches += 1
        future = self._thread.submit(self._classify, classifier, pixels)
        # A cancelled call leaves its batch running, so the batch itself must count down.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._count_down))
        return await asyncio.wrap_future(future)

    def _count_down(self) -> None:
        self._batches -= 1

    def _can_run_inline(self, version: str, pixels: Pixels) -> bool:
        return (
            len(pixels) == 1
            and not self._batches
            and not self._is_background
            and self._single_ms.get(version, INLINE_MS) < INLINE_MS
        )

    def _classify(self, classifier: Classifier, pixels: Pixels) -> Prediction | Unavailable:
        started = time.perf_counter()
        probabilities = classifier.probabilities(pixels)
        model_ms = 1000 * (time.perf_counter() - started)
        card = classifier.card
        if len(pixels) == 1:
            self._single_ms[card.version] = model_ms
        if not np.isfinite(probabilities).all():
            return Unavailable(f"the network of {card.version} gave non-finite probabilities")
        return Prediction(card.version, tuple(card.labels), probabilities, model_ms)


def one_thread(name: str, *, low_priority: bool) -> ThreadPoolExecutor:
    """An executor with one thread, optionally niced; Linux has a niceness per thread."""
    lower = partial(os.nice, LOW_PRIORITY) if low_priority else None
    return ThreadPoolExecutor(1, thread_name_prefix=name, initializer=lower)
