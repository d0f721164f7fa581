"""Store reads in a small thread pool, with a timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from serve_app.errors import Busy, NotReady, TooSlow
from serve_app.store.errors import StoreError

T = TypeVar("T")


class BoundedReads:
    """Runs store reads in threads. A read that timed out keeps its thread until it returns."""

    def __init__(self, *, threads: int, max_reads: int, timeout_s: float) -> None:
        """Create the thread pool.

        Args:
            max_reads: The largest number of running and queued reads; further ones are rejected.
        """
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="read")
        self._max_reads = max_reads
        self._timeout_s = timeout_s
        self._reads: set[Future[Any]] = set()

    async def read(
        self, function: Callable[..., T], *args: Any, discard: Callable[[T], None] | None = None
    ) -> T:
        """Run a function in a thread; returns its result.

        Args:
            discard: Called with the result if it comes after a timeout or a cancellation.

        Raises:
            Busy: Too many reads are running.
            TooSlow: The function did not return in time.
            NotReady: The store failed.
        """
        if len(self._reads) >= self._max_reads:
            raise Busy(f"{self._max_reads} reads of the store are running: try again in a second")
        future = self._threads.submit(partial(function, *args))
        self._reads.add(future)
        future.add_done_callback(self._reads.discard)
        discard_result = partial(_discard_result, discard)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._timeout_s)
        except asyncio.CancelledError:
            future.add_done_callback(discard_result)
            raise
        except TimeoutError as exc:
            future.add_done_callback(discard_result)
            raise TooSlow(
                f"the store did not answer within {self._timeout_s:g} s:"
                " try again, or ask for a shorter period"
            ) from exc
        except StoreError as exc:
            raise NotReady(str(exc)) from exc


def _discard_result(discard: Callable[[T], None] | None, future: Future[T]) -> None:
    if discard and not future.cancelled() and not future.exception():
        discard(future.result())
