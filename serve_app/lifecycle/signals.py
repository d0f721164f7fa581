"""Being told to end, remembered until it is asked for, so that no step is cut in half."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

NAP_S = 0.1


class Signals:
    """Counts Ctrl-C, SIGTERM and SIGHUP while it is open; an ignored SIGHUP (nohup) stays so."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        wanted = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            wanted.append(signal.SIGHUP)
        self._before = {number: signal.signal(number, self._note) for number in wanted}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        self.count += 1

    def wait(self, seconds: float, until: Callable[[], bool]) -> bool:
        """Whether `until` came true in this time; a signal meanwhile ends the wait."""
        start, count = time.monotonic(), self.count
        while not until():
            if self.count > count or time.monotonic() - start > seconds:
                return False
            time.sleep(NAP_S)
        return True
