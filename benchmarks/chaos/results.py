"""Prints the results, and writes them into the documentation."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version

import rich.table

from benchmarks.environments import ROOT
from benchmarks.evidence import page
from benchmarks.evidence.table import Table

PAGE = ROOT / "docs" / "reliability.md"


def format_table(measured: Table) -> rich.table.Table:
    """A table for the terminal."""
    formatted = rich.table.Table()
    for number, column in enumerate(measured.columns):
        formatted.add_column(column, justify="left" if number < measured.inputs else "right")
    for row in measured.rows:
        formatted.add_row(*row)
    return formatted


def describe_run(duration_s: float, what: str = "") -> str:
    """When and on what the results were measured, in one line."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("serve-app", "ray"))
    of = f"{what}, " if what else ""
    return (
        f"{date.today()}: {of}in {duration_s:.0f} s; {os.cpu_count()} cores"
        f" with a load of {os.getloadavg()[0]:.1f} at the end, Python {platform.python_version()},"
        f" {packages}."
    )


def write(parts: Mapping[str, str]) -> None:
    """Replace some parts of the page."""
    text = PAGE.read_text()
    PAGE.write_text(page.fill(text, page.read(text) | dict(parts)))
