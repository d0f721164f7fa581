"""One thread for work on large request bodies: unpacking and parsing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

MAX_INLINE_BYTES = 32_768  # unpacked or parsed in at most a millisecond
# One, because parsers hold the interpreter's lock: more threads would delay all other requests.
_WORKER = ThreadPoolExecutor(1, thread_name_prefix="body")

P = ParamSpec("P")
T = TypeVar("T")


async def process(size_bytes: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `work` here if the body is small, else in the thread."""
    if size_bytes <= MAX_INLINE_BYTES:
        return work(*args, **kwargs)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_WORKER, lambda: work(*args, **kwargs))
