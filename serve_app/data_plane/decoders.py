"""The threads that decode images; requests wait for them in bounded number and time."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from serve_app.errors import Busy, TooSlow

WAIT_S = 5.0  # for the pixels of a request

P = ParamSpec("P")
T = TypeVar("T")


class Decoders:
    """Threads with a limited number of places.

    A place is taken until the work has ended, even if the request has given up.
    """

    def __init__(
        self, name: str, *, threads: int, places: int, wait_s: float = WAIT_S, is_large: bool
    ) -> None:
        """
        Args:
            places: Requests in progress and waiting.
            is_large: The work takes tens of megabytes, which are then returned to the system.
        """
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"decode-{name}")
        self._places = threading.BoundedSemaphore(places)
        self._description = f"{places} requests with {name} images wait for a decoder"
        self._wait_s = wait_s
        self._is_large = is_large

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of the work.

        Raises:
            Busy: There is no place.
            TooSlow: The work has not ended in time.
        """
        if not self._places.acquire(blocking=False):
            raise Busy(f"{self._description}: try again in a second, or send smaller images")
        # Its holder frees the place: the thread that begins the work, or the request if it gives up
        # before.
        claim = threading.Lock()

        def run_in_thread() -> T:
            if not claim.acquire(blocking=False):
                raise CancelledError
            try:
                return work(*args, **kwargs)
            finally:
                self._places.release()
                if self._is_large:
                    _return_memory()

        try:
            async with asyncio.timeout(self._wait_s):
                return await asyncio.get_running_loop().run_in_executor(
                    self._executor, run_in_thread
                )
        except TimeoutError as exc:
            raise TooSlow(
                f"the images were not decoded in {self._wait_s:g} s:"
                " try again, or send smaller images"
            ) from exc
        finally:
            if claim.acquire(blocking=False):
                self._places.release()


def _return_memory() -> None:
    """Return free memory to the system; a decoder's blocks would stay with its thread."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


# Waits of at most 2 s: decoding a small request takes up to 50 ms, a large one up to 600 ms.
SMALL = Decoders("small", threads=2, places=80, is_large=False)
LARGE = Decoders("large", threads=1, places=4, is_large=True)
