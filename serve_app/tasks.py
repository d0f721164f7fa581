"""What asyncio does not tell by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any


def was_cancelled() -> bool:
    """Whether the present task was cancelled.

    A CancelledError alone does not say so: a remote call raises one too when the other side
    cancels it, as Serve does when a replica goes away.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@contextlib.contextmanager
def watched_when_late(
    after_s: float, watch: Callable[[], Coroutine[Any, Any, None]]
) -> Iterator[None]:
    """Run `watch` in a task of its own once the block has taken `after_s`, until it is left.

    A block that takes less costs no task, only a timer.
    """
    loop = asyncio.get_running_loop()
    watching: asyncio.Task[None] | None = None

    def start() -> None:
        nonlocal watching
        watching = loop.create_task(watch())

    timer = loop.call_later(after_s, start)
    try:
        yield
    finally:
        timer.cancel()
        if watching is not None:
            watching.cancel()
