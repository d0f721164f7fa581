"""docs/evidence-checks.md has the tables that `python -m benchmarks.evidence --write` writes."""

from __future__ import annotations

import re

import pytest

from benchmarks.evidence import gates, intervals, page
from benchmarks.evidence.__main__ import PAGE
from benchmarks.evidence.table import Table
from serve_app.evidence.confidence import ALPHA
from serve_app.evidence.gate import PASS_ALPHA, ROLLBACK_ALPHA, GateMetric

PUBLISHED = PAGE.read_text()
OURS = "serve-app"


@pytest.fixture(scope="module")
def simulated() -> list[Table]:
    """All tables, of two runs."""
    return [*intervals.tables(2, 1), *gates.tables(2, 1)]


def published(name: str) -> list[dict[str, str]]:
    """The rows of a table by column."""
    part = PUBLISHED.partition(f"<!-- table: {name} -->\n")[2].partition("\n<!-- end -->")[0]
    header, _, *rows = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in part.split("\n")
    )
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_page_has_all_tables(simulated: list[Table]) -> None:
    assert page.names(PUBLISHED) == ["run", *(table.name for table in simulated)]


def test_tables_have_the_scenarios_and_methods_of_the_command(simulated: list[Table]) -> None:
    for table in simulated:
        rows = published(table.name)
        assert [tuple(row) for row in rows] == [table.columns] * len(table.rows)
        inputs = [tuple(row.values())[: table.inputs] for row in rows]
        assert inputs == [row[: table.inputs] for row in table.rows]


def test_filling_replaces_all_parts_and_nothing_else() -> None:
    parts = {name: f"new {name}" for name in page.names(PUBLISHED)}
    filled = page.fill(PUBLISHED, parts)
    assert filled.count("\nnew ") == len(parts)
    empty = dict.fromkeys(parts, "")
    assert page.fill(filled, empty) == page.fill(PUBLISHED, empty)


@pytest.mark.parametrize(
    ("name", "column", "promised"),
    [
        ("equal", OURS, ALPHA),
        ("harm", OURS, ALPHA),
        ("not-worse", OURS, ALPHA),
        ("gate-harm", "proved", ROLLBACK_ALPHA[GateMetric.FAILURES]),
        ("gate-pass", "proved", PASS_ALPHA),
    ],
)
def test_published_errors_are_within_what_is_promised(
    name: str, column: str, promised: float
) -> None:
    """With three Monte Carlo standard errors."""
    for row in published(name):
        if name == "gate-harm" and row["control"] != row["treatment"]:
            continue
        if name == "gate-pass" and row["control"] == row["treatment"]:
            continue
        found = re.fullmatch(r"([\d.]+) ± ([\d.]+) %", row[column])
        assert found is not None, row
        assert float(found[1]) - 3 * float(found[2]) <= 100 * promised, row
