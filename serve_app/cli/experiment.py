"""`serve-app experiment`: lists experiments."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from serve_app.cli.options import AsJson, Url, console, print_json
from serve_app.cli.report import text
from serve_app.client import Client, service_url
from serve_app.home import open_home

app = typer.Typer(name="experiment", add_completion=False, no_args_is_help=True)

Limit = Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of experiments.")]

NAME_WIDTH = 19  # the table then fits 80 columns


@app.callback()
def _group() -> None:
    """List canaries, A/B tests and shadows."""


@app.command("list")
def list_experiments(limit: Limit = 20, url: Url = None, as_json: AsJson = False) -> None:
    """List the experiments, newest first: kinds, versions, dates, units and findings."""
    with Client(url or service_url(), open_home().token) as client:
        experiments = client.experiments()[:limit]
    if as_json:
        print_json(experiments)
        return
    name = Column("experiment", max_width=NAME_WIDTH, overflow="fold")
    table = Table(name, "version", "from, to (UTC)", "units", "finding", box=None)
    for experiment in experiments:
        _add_rows(table, experiment)
    console().print(table)
    for experiment in experiments:
        if experiment["finding"] is None:
            typer.echo(f"{experiment['name']} cannot be assessed: {experiment['sentence']}")


def _add_rows(table: Table, experiment: dict[str, Any]) -> None:
    """A row for each arm: the first with the name and the start, the second with the end."""
    stable, candidate = experiment["arms"]
    start, end = text.time(experiment["from_ms"]), text.time(experiment["to_ms"])
    finding = experiment["finding"] or "-"
    table.add_row(escape(experiment["name"]), *_version(stable, start), finding)
    table.add_row(experiment["kind"], *_version(candidate, end))


def _version(arm: dict[str, Any], time: str) -> tuple[str, str, str]:
    units = "-" if arm["units"] is None else f"{arm['units']:,}"
    return f"{arm['arm']} {arm['version']}", time, units
