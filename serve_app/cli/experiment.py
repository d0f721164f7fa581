"""`serve-app experiment`: lists experiments."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from serve_app.cli.options import AsJson, Url, console, print_json, say
from serve_app.cli.progress import clock
from serve_app.cli.report import text
from serve_app.cli.tables import Table
from serve_app.client import Client, service_url
from serve_app.home import open_home

app = typer.Typer(name="experiment", add_completion=False, no_args_is_help=True)

Limit = Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of experiments.")]


@app.callback()
def _group() -> None:
    """List canaries, A/B tests and shadows."""


@app.command("list")
def list_experiments(limit: Limit = 20, url: Url = None, as_json: AsJson = False) -> None:
    """List the experiments, newest first: kinds, versions, dates, units and findings."""
    with Client(url or service_url(), open_home().token) as client, clock("reading experiments"):
        experiments = client.experiments(limit)
    if as_json:
        print_json(experiments)
        return
    table = Table("experiment", "kind", "versions", "from (UTC)", "to (UTC)", "units", "finding")
    for experiment in experiments:
        _add_row(table, experiment)
    console().print(table)
    for experiment in experiments:
        if experiment["finding"] is None:
            say(f"{experiment['name']} cannot be assessed: {experiment['sentence']}")


def _add_row(table: Table, experiment: dict[str, Any]) -> None:
    arms = experiment["arms"]
    table.add_row(
        experiment["name"],
        experiment["kind"],
        ", ".join(f"{arm['arm']} {arm['version']}" for arm in arms),
        text.time(experiment["from_ms"]),
        text.time(experiment["to_ms"]),
        " + ".join("-" if arm["units"] is None else f"{arm['units']:,}" for arm in arms),
        experiment["finding"] or "-",
    )
