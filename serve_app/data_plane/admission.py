"""Refuses requests that would wait too long, so that accepted ones are answered in time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from math import exp, inf

from serve_app.errors import Busy

MAX_READING = 256  # requests whose bodies are being received; they take no place of the others
MAX_IN_PROGRESS = 256  # requests that are being classified
MAX_WAIT_S = 1.0  # expected; clients then wait 2 s at most, but for 1 %
FREE_IMAGES = 8  # always admitted: so few say little about a queue
MEMORY_S = 1.0  # of the throughput
FIRST_THROUGHPUT = 200.0  # images per second, until it is known
FIRST_BUSY_S = 0.25  # the weight of `FIRST_THROUGHPUT`


class Throughput:
    """Images per second while there is work, averaged with weights that decay by 1/e in `MEMORY_S`.

    Idle time does not count: it says nothing about how fast work is done.
    """

    def __init__(self, now_s: float) -> None:
        self._now_s = now_s
        self._busy_s = FIRST_BUSY_S
        self._images = FIRST_THROUGHPUT * FIRST_BUSY_S

    def advance(self, now_s: float, *, is_busy: bool) -> None:
        """Let time pass, with or without work in progress."""
        if is_busy:
            decay = exp((self._now_s - now_s) / MEMORY_S)
            self._busy_s = decay * self._busy_s + (1 - decay) * MEMORY_S
            self._images *= decay
        self._now_s = now_s

    def add(self, images: int) -> None:
        """Count images that have left."""
        self._images += images

    @property
    def images_per_s(self) -> float:
        """The average; above 0, or 0 after a very long time in which none left."""
        return self._images / self._busy_s


class Admission:
    """Admits the requests of one ingress, or refuses them.

    By Little's law, an image that arrives when n images are in progress waits n / throughput.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            clock: Seconds since some moment.
        """
        self._clock = clock
        self._throughput = Throughput(clock())
        self._admitted = 0  # requests
        self._classifying = 0  # requests
        self._images = 0  # of the requests that are being classified

    @contextlib.contextmanager
    def arrival(self) -> Iterator[None]:
        """Admits a request; to be entered before its body is read.

        Raises:
            Busy: Too many bodies are being read, or the request would wait too long.
        """
        reading = self._admitted - self._classifying
        if reading >= MAX_READING:
            raise Busy(
                f"the bodies of {reading} requests are being received, which is the limit:"
                " try again in a second"
            )
        self._check_work(images=1)
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    @contextlib.contextmanager
    def work(self, images: int) -> Iterator[None]:
        """Admits the images of a request, once its body is read. They leave with the block, whether
        they were classified or not: both make room.

        Raises:
            Busy: Too many requests are being classified, or the images would wait too long.
        """
        self._check_work(images)
        self._classifying += 1
        self._images += images
        try:
            yield
        finally:
            self._advance()
            self._throughput.add(images)
            self._classifying -= 1
            self._images -= images

    def expected_wait_s(self, images: int) -> float:
        """How long images that arrive now would take."""
        self._advance()
        rate = self._throughput.images_per_s
        return (self._images + images) / rate if rate else inf

    def _check_work(self, images: int) -> None:
        if self._classifying >= MAX_IN_PROGRESS:
            raise Busy(
                f"{self._classifying} requests are in progress, which is the limit:"
                " try again in a second"
            )
        wait_s = self.expected_wait_s(images)
        if self._images >= FREE_IMAGES and wait_s > MAX_WAIT_S:
            raise Busy(
                f"{self._images} images are in progress, and yours would take about"
                f" {min(wait_s, 60):.1f} s, expected at most {MAX_WAIT_S:g} s: try again in a"
                " second"
            )

    def _advance(self) -> None:
        self._throughput.advance(self._clock(), is_busy=self._images > 0)
