"""Helpers for asyncio tasks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any


def was_cancelled() -> bool:
    """Whether the current task was cancelled.

    A CancelledError does not imply it: a remote call also raises one when the other side cancels
    the call, as Serve does when a replica stops.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@contextlib.contextmanager
def background_task_after(
    delay_s: float, work: Callable[[], Coroutine[Any, Any, None]]
) -> Iterator[None]:
    """Run `work` in a task after `delay_s`, until the block ends.

    A shorter block starts no task, only a timer.
    """
    loop = asyncio.get_running_loop()
    task: asyncio.Task[None] | None = None

    def start() -> None:
        nonlocal task
        task = loop.create_task(work())

    timer = loop.call_later(delay_s, start)
    try:
        yield
    finally:
        timer.cancel()
        if task is not None:
            task.cancel()
