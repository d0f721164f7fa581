"""Counts stop signals instead of raising at them, so that no step is interrupted halfway."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

POLL_S = 0.1


class StopSignals:
    """Counts SIGINT, SIGTERM and SIGHUP while it is open; an ignored SIGHUP (nohup) stays ignored.

    Attributes:
        count: The number of signals so far.
    """

    def __init__(self, on_signal: Callable[[], None] = lambda: None) -> None:
        """
        Args:
            on_signal: Called at once, within the signal handler.
        """
        self.count = 0
        self._on_signal = on_signal

    def __enter__(self) -> Self:
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        self._previous = {number: signal.signal(number, self._count) for number in numbers}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _count(self, *_: object) -> None:
        self.count += 1
        self._on_signal()

    def wait(self, timeout_s: float, until: Callable[[], bool]) -> bool:
        """Wait for a condition; False after the timeout or when a signal comes."""
        start, count = time.monotonic(), self.count
        while not until():
            if self.count > count or time.monotonic() - start > timeout_s:
                return False
            time.sleep(POLL_S)
        return True
