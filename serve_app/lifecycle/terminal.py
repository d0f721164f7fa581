"""What the user hears: lines that stay, and on a terminal one that changes."""

from __future__ import annotations

from contextlib import suppress

from rich.console import Console
from rich.status import Status
from rich.text import Text


class Terminal:
    """Prints to standard output; a terminal that has gone away stops nothing."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._status: Status | None = None
        self._doing = ""

    def say(self, text: str) -> None:
        """Print lines that stay."""
        with suppress(OSError):
            self._console.print(Text(text))

    def doing(self, text: str) -> None:
        """Say what goes on now, until something else does or `done`."""
        if text == self._doing:
            return
        self._doing = text
        if not self._console.is_terminal:
            self.say(text)
        elif self._status:
            self._status.update(Text(text))
        else:
            self._status = self._console.status(Text(text))
            self._status.start()

    def done(self) -> None:
        self._doing = ""
        if self._status:
            self._status.stop()
            self._status = None
