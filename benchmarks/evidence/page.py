"""Writes tables between the markers of a Markdown page.

A marker is a comment, <!-- table: NAME -->; the part ends at <!-- end -->.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from benchmarks.evidence.table import Table

PART = re.compile(r"(<!-- table: ([a-z-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def names(page: str) -> list[str]:
    """The parts of a page, in order."""
    return list(read(page))


def read(page: str) -> dict[str, str]:
    """The parts of a page by name, in order."""
    return {name: content.removesuffix("\n") for _, name, content, _ in PART.findall(page)}


def fill(page: str, parts: Mapping[str, str]) -> str:
    """The page with its parts replaced.

    Raises:
        KeyError: A part of the page is not in `parts`.
    """
    return PART.sub(lambda match: f"{match[1]}{parts[match[2]]}\n{match[4]}", page)


def markdown(table: Table) -> str:
    lines = [table.columns, ("---",) * len(table.columns), *table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
