"""`serve-app export`: writes a table of the store to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from serve_app.cli.options import Url, say
from serve_app.cli.progress import clock
from serve_app.client import Client, service_url
from serve_app.home import open_home

app = typer.Typer(add_completion=False)

FORMATS = ("csv", "parquet")
Tables = Literal[
    "exposures",
    "shadow_pairs",
    "feedback",
    "labelled_feedback",
    "epochs",
    "exposure_sums",
    "latency_sums",
    "unit_sums",
    "first_assignments",
    "pair_sums",
    "unit_pair_sums",
]
TableName = Annotated[
    Tables, typer.Argument(metavar="TABLE", help=f"One of {', '.join(get_args(Tables))}.")
]
OutputFile = Annotated[Path, typer.Argument(metavar="FILE", help="*.csv or *.parquet.")]
Since = Annotated[
    str, typer.Option(help="Start: a duration before now (30m, 24h, 7d) or an ISO 8601 time.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")]


@app.command()
def export(
    table: TableName, path: OutputFile, since: Since = "7d", force: Force = False, url: Url = None
) -> None:
    """Export a table of the store to a file. docs/export.md describes the tables.

    Replaces a file only with --force. If it is interrupted, it leaves FILE as it was.
    """
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise typer.BadParameter(f"'{path}': expected *.csv or *.parquet", param_hint="FILE")
    check_output(path, force)
    with (
        Client(url or service_url(), open_home().token) as client,
        clock(f"exporting {table}") as show,
    ):
        client.export(
            table, kind, since, path, lambda done: show(f"exporting {table}: {done:,} bytes")
        )
    say(f"{path}: {path.stat().st_size:,} bytes")


def check_output(path: Path, force: bool, name: str = "FILE") -> None:
    """Check that a file can be written, before any work for it.

    Args:
        name: Of the argument or the option, for the message.

    Raises:
        typer.BadParameter: It exists and is not to be replaced, is a folder, or its folder is
            missing.
    """
    if path.is_dir():
        raise typer.BadParameter(f"'{path}' is a folder", param_hint=name)
    if not path.parent.is_dir():
        raise typer.BadParameter(f"there is no folder '{path.parent}'", param_hint=name)
    if path.exists() and not force:
        raise typer.BadParameter(
            f"'{path}' exists: name another file, or replace it with --force", param_hint=name
        )
