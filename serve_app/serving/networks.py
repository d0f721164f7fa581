"""Running the networks of one replica: in a thread, or in the event loop where that is quicker."""

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
# The way to a thread and back costs 0.2 ms of CPU time, and as much of waiting: for a small image a
# fifth of what its network does. So long the event loop may be held up instead.
INLINE_MS = 3.0


class NetworkRunner:
    """Runs one batch at a time.

    A batch runs in a thread, so that the event loop goes on answering calls and health checks. A
    lone image runs in the event loop if no batch is running and the version's last lone image took
    less than `INLINE_MS`.
    """

    def __init__(self) -> None:
        self._is_background = False
        self._thread = one_thread("network", low_priority=False)
        self._batches = 0  # in the thread or waiting for it
        self._lone_ms: dict[str, float] = {}  # a version's time for its last lone image

    def set_background(self, background: bool) -> None:
        """Run networks at low priority, or at the usual one, from the next batch on."""
        if background == self._is_background:
            return
        self._is_background = background
        self._thread.shutdown(wait=False)  # it finishes what it was given
        self._thread = one_thread("network", low_priority=background)

    async def run(self, classifier: Classifier, pixels: Pixels) -> Prediction | Unavailable:
        """Classify uint8 [n, side, side, 3]."""
        if self._is_quick(classifier.card.version, pixels):
            return self._classify(classifier, pixels)
        loop = asyncio.get_running_loop()
        self._batches += 1
        reply = self._thread.submit(self._classify, classifier, pixels)
        # Not when the call ends: one that is cancelled leaves its batch running.
        reply.add_done_callback(lambda _: loop.call_soon_threadsafe(self._note_batch_done))
        return await asyncio.wrap_future(reply)

    def _note_batch_done(self) -> None:
        self._batches -= 1

    def _is_quick(self, version: str, pixels: Pixels) -> bool:
        return (
            len(pixels) == 1
            and not self._batches
            and not self._is_background
            and self._lone_ms.get(version, INLINE_MS) < INLINE_MS
        )

    def _classify(self, classifier: Classifier, pixels: Pixels) -> Prediction | Unavailable:
        started = time.perf_counter()
        probabilities = classifier.probabilities(pixels)
        model_ms = 1000 * (time.perf_counter() - started)
        card = classifier.card
        if len(pixels) == 1:
            self._lone_ms[card.version] = model_ms
        if not np.isfinite(probabilities).all():
            return Unavailable(f"the network of {card.version} gave no probabilities")
        return Prediction(card.version, tuple(card.labels), probabilities, model_ms)


def one_thread(name: str, *, low_priority: bool) -> ThreadPoolExecutor:
    """An executor of one thread; Linux keeps a niceness for each, and lets no thread lower it."""
    lower = partial(os.nice, LOW_PRIORITY) if low_priority else None
    return ThreadPoolExecutor(1, thread_name_prefix=name, initializer=lower)
