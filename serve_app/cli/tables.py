"""Tables that lose nothing: where a table is too wide, each row becomes a list of facts."""

from __future__ import annotations

from collections.abc import Iterable

from rich import table as rich
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

ENDLESS = 10**6  # columns


class Table:
    """A table of texts, which are printed as they are: they have no markup.

    If it fits the console, each row is a line. If not, each row is a block: the first cell, then
    one fact a line, long ones wrapped. Empty cells have no fact.

    Args:
        head: The names of the columns. A column without a name is the name of its row.
    """

    def __init__(self, *head: str) -> None:
        self._head = head
        self._rows: list[tuple[str, ...]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add_row(self, *cells: str) -> None:
        """Add a row with a cell for each column."""
        self._rows.append(tuple(one_line(cell) for cell in cells))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self._lines()
        natural = Measurement.get(console, options.update(width=ENDLESS), lines)
        if natural.maximum <= options.max_width:
            yield lines
        else:
            yield from self._blocks(options.max_width)

    def _lines(self) -> rich.Table:
        table = rich.Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in self._head:
            table.add_column(Text(name), no_wrap=True)
        for row in self._rows:
            table.add_row(*map(Text, row))
        return table

    def _blocks(self, width: int) -> RenderResult:
        names = min(max((len(name) for name in self._head[1:]), default=0) + 2, width // 2)
        for number, (title, *cells) in enumerate(self._rows):
            if number:
                yield ""
            yield Text(f"{self._head[0]} {title}".strip(), style="bold")
            shown = zip(self._head[1:], cells, strict=True)
            yield facts(((f"  {name}", cell) for name, cell in shown if cell), names)


def facts(pairs: Iterable[tuple[str, str]], name_width: int | None = None) -> rich.Table:
    """One fact a line: a name and a text, which is wrapped next to its name.

    Args:
        name_width: Of the names, in columns; by default, that of the longest.
    """
    table = rich.Table.grid(padding=(0, 2, 0, 0))
    table.add_column(overflow="fold", width=name_width)
    table.add_column(overflow="fold")
    for name, text in pairs:
        table.add_row(Text(name), Text(one_line(text)))
    return table


def one_line(text: str) -> str:
    """A text whose line breaks and control characters are blanks."""
    return "".join(character if character.isprintable() else " " for character in text)
