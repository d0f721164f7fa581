"""`serve-app audit`: the audit log."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from serve_app.cli.options import AsJson, Url, console, format_time, print_json
from serve_app.cli.tables import Table
from serve_app.client import Client, service_url
from serve_app.home import open_home

app = typer.Typer(add_completion=False)

Limit = Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of entries.")]


@app.command()
def audit(limit: Limit = 20, url: Url = None, as_json: AsJson = False) -> None:
    """List the changes to the service, newest first."""
    with Client(url or service_url(), open_home().token) as client:
        entries = client.audit(limit)
    if as_json:
        print_json(entries)
        return
    table = Table("time", "actor", "action", "reason", "details")
    for entry in entries:
        texts = (entry["actor"], entry["action"], entry["reason"], json.dumps(entry["details"]))
        table.add_row(format_time(entry["at_ms"]), *texts)
    console().print(table)
