"""One thread for work on large request bodies: unpacking and parsing."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from serve_app.bounded_threads import BoundedThreads

MAX_INLINE_BYTES = 32_768  # unpacked or parsed in at most a millisecond
# One, because parsers hold the interpreter's lock: more threads would delay all other requests.
# A body takes up to 0.25 s, so the last of 16 waits for up to 4 s.
_WORKER = BoundedThreads("body", "large bodies", threads=1, places=16)

P = ParamSpec("P")
T = TypeVar("T")


async def process(size_bytes: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `work` here if the body is small, else in the thread.

    Raises:
        Busy: Too many requests with large bodies wait for it.
        TooSlow: It has not ended in time.
    """
    if size_bytes <= MAX_INLINE_BYTES:
        return work(*args, **kwargs)
    return await _WORKER.run(work, *args, **kwargs)
