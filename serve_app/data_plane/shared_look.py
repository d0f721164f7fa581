"""One look at slow state for all who ask at the same time, or soon after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from serve_app.errors import NotReady
from serve_app.tasks import DetachedTasks, was_cancelled

T = TypeVar("T")


class SharedLook(Generic[T]):
    """Runs at most one look at a time, and keeps its result for a while.

    Callers during a look wait for its result, or get its error. An error is not kept.
    """

    def __init__(self, look: Callable[[], Coroutine[Any, Any, T]], max_age_s: float) -> None:
        """
        Args:
            max_age_s: How long a result is kept after its look.
        """
        self._look = look
        self._max_age_s = max_age_s
        self._tasks = DetachedTasks()
        self._running: asyncio.Task[T] | None = None
        self._result: tuple[float, T] | None = None  # the loop's time of expiry, and the value

    async def get(self) -> T:
        """The result of a look, at most `max_age_s` old.

        Raises:
            NotReady: The look was cancelled, as Serve does with calls of a replica that stops.
            Exception: What the look raises.
        """
        if self._result and asyncio.get_running_loop().time() < self._result[0]:
            return self._result[1]
        if self._running is None:
            self._running = self._tasks.start(self._run())
        return await asyncio.shield(self._running)

    async def _run(self) -> T:
        try:
            value = await self._look()
        except asyncio.CancelledError as exc:
            if was_cancelled():
                raise
            raise NotReady("a look at the replicas was cancelled: try again in a second") from exc
        finally:
            self._running = None
        self._result = asyncio.get_running_loop().time() + self._max_age_s, value
        return value
