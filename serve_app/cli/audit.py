"""`serve-app audit` and `serve-app export`: the audit log and the tables of the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from serve_app.cli.options import AsJson, Url, console, format_time, print_json
from serve_app.client import Client, service_url
from serve_app.home import open_home

app = typer.Typer(add_completion=False)

FORMATS = ("csv", "parquet")

Limit = Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of entries.")]
TableName = Annotated[
    str, typer.Argument(metavar="TABLE", help="For example exposures, shadow_pairs or feedback.")
]
OutputFile = Annotated[Path, typer.Argument(metavar="FILE", help="*.csv or *.parquet.")]
Since = Annotated[
    str, typer.Option(help="Start: a duration before now (30m, 24h, 7d) or an ISO 8601 time.")
]


@app.command()
def audit(limit: Limit = 20, url: Url = None, as_json: AsJson = False) -> None:
    """List the changes to the service, newest first."""
    with Client(url or service_url(), open_home().token) as client:
        entries = client.audit(limit)
    if as_json:
        print_json(entries)
        return
    table = Table("time", "actor", "action", "reason", "details", box=None)
    for entry in entries:
        cells = (entry["actor"], entry["action"], entry["reason"], json.dumps(entry["details"]))
        table.add_row(format_time(entry["at_ms"]), *(escape(cell) for cell in cells))
    console().print(table)


@app.command()
def export(table: TableName, path: OutputFile, since: Since = "7d", url: Url = None) -> None:
    """Export a table of the store to a file."""
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise typer.BadParameter(f"'{path}': expected *.csv or *.parquet", param_hint="FILE")
    with Client(url or service_url(), open_home().token) as client:
        client.export(table, kind, since, path)
    typer.echo(f"{path}: {path.stat().st_size:,} bytes")
