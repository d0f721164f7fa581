"""Output to the terminal: printed lines, and one progress line that is replaced."""

from __future__ import annotations

from contextlib import suppress

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text


class Terminal:
    """Prints to standard output; a closed terminal is not an error."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._live: tuple[Progress, TaskID] | None = None
        self._progress = ""

    def print(self, text: str) -> None:
        """Print lines."""
        with suppress(OSError):
            self._console.print(Text(text))

    def show_progress(self, text: str) -> None:
        """Replace the text of the progress line, which has a clock since its first text; without a
        terminal, print the text if it changed."""
        if text == self._progress:
            return
        self._progress = text
        if not self._console.is_terminal:
            self.print(text)
        elif self._live:
            progress, task = self._live
            progress.update(task, description=text, refresh=True)
        else:
            progress = _progress_line(self._console)
            self._live = progress, progress.add_task(text)
            progress.start()

    def clear_progress(self) -> None:
        """Remove the progress line."""
        self._progress = ""
        if self._live:
            self._live[0].stop()
            self._live = None


def _progress_line(console: Console) -> Progress:
    text = TextColumn(
        "{task.description}",
        markup=False,
        table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
    )
    return Progress(
        SpinnerColumn(), TimeElapsedColumn(), text, console=console, transient=True, expand=True
    )
