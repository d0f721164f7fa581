"""Reading from the store beside everything else: in few threads, waited for within bounds."""

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
    """A read that nobody waits for any more keeps its thread until the database answers."""

    def __init__(self, *, threads: int, most: int, timeout_s: float) -> None:
        """Nothing is read yet.

        Args:
            most: How many may be under way or wait; the next is rejected.
        """
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="read")
        self._most = most
        self._timeout_s = timeout_s
        self._under_way: set[Future[Any]] = set()

    async def read(
        self, make: Callable[..., T], *args: Any, discard: Callable[[T], None] | None = None
    ) -> T:
        """What `make` returns.

        Args:
            discard: Takes what was made after all when nobody waited for it any more.

        Raises:
            Busy: Too many are under way.
            TooSlow: It did not return in time.
            NotReady: The store failed.
        """
        if len(self._under_way) >= self._most:
            raise Busy(f"{self._most} reads of the store are under way: try again in a second")
        future = self._threads.submit(partial(make, *args))
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        unwanted = partial(_discard, discard)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._timeout_s)
        except asyncio.CancelledError:
            future.add_done_callback(unwanted)
            raise
        except TimeoutError as exc:
            future.add_done_callback(unwanted)
            raise TooSlow(
                f"the store did not answer within {self._timeout_s:g} s:"
                " try again, or ask for a shorter period"
            ) from exc
        except StoreError as exc:
            raise NotReady(str(exc)) from exc


def _discard(discard: Callable[[T], None] | None, made: Future[T]) -> None:
    if discard and not made.cancelled() and not made.exception():
        discard(made.result())
