"""Threads for which requests wait in bounded number and time."""

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

WAIT_S = 5.0  # for the result of the work

P = ParamSpec("P")
T = TypeVar("T")


class BoundedThreads:
    """Threads with a limited number of places.

    A place is taken until the work has ended, even if the request has given up.
    """

    def __init__(
        self,
        name: str,
        subject: str,
        *,
        threads: int,
        places: int,
        wait_s: float = WAIT_S,
        returns_memory: bool = False,
    ) -> None:
        """
        Args:
            name: Of the threads.
            subject: What they process, in the plural, for the texts of errors.
            places: Requests in progress and waiting.
            returns_memory: The work takes tens of megabytes, which then go back to the system.
        """
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free_places = threading.BoundedSemaphore(places)
        self._places = places
        self._subject = subject
        self._wait_s = wait_s
        self._returns_memory = returns_memory

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of the work.

        Raises:
            Busy: There is no place.
            TooSlow: The work has not ended in time.
        """
        if not self._free_places.acquire(blocking=False):
            raise Busy(
                f"{self._places} requests with {self._subject} are being processed:"
                f" try again in a second, or send smaller {self._subject}"
            )
        # Its holder frees the place: the thread that begins the work, or the request if it gives up
        # before.
        claim = threading.Lock()

        def run_in_thread() -> T:
            if not claim.acquire(blocking=False):
                raise CancelledError
            try:
                return work(*args, **kwargs)
            finally:
                self._free_places.release()
                if self._returns_memory:
                    _return_memory()

        try:
            async with asyncio.timeout(self._wait_s):
                return await asyncio.get_running_loop().run_in_executor(
                    self._executor, run_in_thread
                )
        except TimeoutError as exc:
            raise TooSlow(
                f"the {self._subject} were not processed in {self._wait_s:g} s:"
                f" try again, or send smaller {self._subject}"
            ) from exc
        finally:
            if claim.acquire(blocking=False):
                self._free_places.release()


def _return_memory() -> None:
    """Return free memory to the system; the blocks of the work would stay with its thread."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
