"""Shows that work goes on: a line with a clock, on a terminal only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column


@contextmanager
def clock(text: str) -> Iterator[Callable[[str], None]]:
    """While the block runs, show the time since its start and a text on standard error.

    The line goes when the block ends. Without a terminal, nothing is shown.

    Yields:
        Replaces the text.
    """
    console = Console(stderr=True, highlight=False, emoji=False)
    columns = (
        SpinnerColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold")),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        task = shown.add_task(text, total=None)

        def replace(text: str) -> None:
            shown.update(task, description=text)

        yield replace
