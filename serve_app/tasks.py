"""Helpers for asyncio tasks."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


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


class DetachedTasks:
    """Tasks that complete although their callers are cancelled."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()  # asyncio has only weak references to tasks

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task. Its context is empty.

        Serve cancels what runs in the context of a request when its client disconnects.
        """
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._finish)
        return task

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a task that completes although this call is cancelled."""
        return await asyncio.shield(self.start(work))

    def __len__(self) -> int:
        """The number of tasks that have not ended."""
        return len(self._tasks)

    async def wait(self) -> None:
        """Wait until all tasks have ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cancel(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        await asyncio.sleep(0)  # a task that is cancelled before it starts would do nothing at all
        for task in self._tasks:
            task.cancel()
        await self.wait()

    def _finish(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved: asyncio logs it otherwise
