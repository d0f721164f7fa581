"""Output to the terminal: printed lines, and one progress line that is replaced."""

from __future__ import annotations

from contextlib import suppress

from rich.console import Console
from rich.status import Status
from rich.text import Text


class Terminal:
    """Prints to standard output; a closed terminal is not an error."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._status: Status | None = None
        self._progress = ""

    def print(self, text: str) -> None:
        """Print lines."""
        with suppress(OSError):
            self._console.print(Text(text))

    def show_progress(self, text: str) -> None:
        """Replace the progress line; without a terminal, print the text if it changed."""
        if text == self._progress:
            return
        self._progress = text
        if not self._console.is_terminal:
            self.print(text)
        elif self._status:
            self._status.update(Text(text))
        else:
            self._status = self._console.status(Text(text))
            self._status.start()

    def clear_progress(self) -> None:
        """Remove the progress line."""
        self._progress = ""
        if self._status:
            self._status.stop()
            self._status = None
