"""Tables at any width: nothing is lost, and no line is wider than the console."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from serve_app.cli.tables import ENDLESS, Table, facts, one_line

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)
ROWS = st.integers(1, 8).flatmap(
    lambda size: st.lists(st.lists(TEXTS, min_size=size, max_size=size), min_size=1, max_size=4)
)


def render(renderable: object, width: int) -> list[str]:
    out = Console(file=io.StringIO(), width=width, highlight=False, emoji=False)
    out.print(renderable)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


def squeeze(text: str) -> str:
    return "".join(one_line(text).split())


def assert_whole(lines: list[str], cells: list[str], width: int) -> None:
    assert max(map(cell_len, lines)) <= width
    printed = squeeze("".join(lines))
    assert [cell for cell in cells if squeeze(cell) not in printed] == []


@given(ROWS, st.sampled_from([40, 80, 100, 140, 200, ENDLESS]))
def test_no_cell_is_cut(rows: list[list[str]], width: int) -> None:
    head = [f"column {number}" for number in range(len(rows[0]))]
    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    lines = render(table, width)
    assert_whole(lines, [cell for row in rows for cell in row], width)
    assert (len(lines) == 1 + len(rows)) or width < ENDLESS  # a row is a line for programs


@given(st.lists(st.tuples(st.text("abc", min_size=1, max_size=60), TEXTS), min_size=1, max_size=4))
def test_no_fact_is_cut(pairs: list[tuple[str, str]]) -> None:
    cells = [cell for pair in pairs for cell in pair]
    assert_whole(render(facts(pairs), 80), cells, 80)


@pytest.mark.parametrize("width", [30, 80])
def test_a_row_that_does_not_fit_is_a_list_of_facts(width: int) -> None:
    table = Table("revision", "kind", "rule", "reason")
    table.add_row("2", "update", "all requests get v2", "")
    table.add_row("1", "start", "all requests get v1", "up [base]")
    lines = [line.rstrip() for line in render(table, width)]
    if width == 80:
        assert lines == [
            "revision  kind    rule                 reason",
            "2         update  all requests get v2",
            "1         start   all requests get v1  up [base]",
        ]
    else:
        assert lines == [
            "revision 2",
            "  kind    update",
            "  rule    all requests get v2",
            "",
            "revision 1",
            "  kind    start",
            "  rule    all requests get v1",
            "  reason  up [base]",
        ]


def test_control_characters_and_line_breaks_are_blanks() -> None:
    assert one_line("a\nb\tc\x1b[31md\u202e") == "a b c [31md "
