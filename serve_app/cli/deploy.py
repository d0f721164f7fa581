"""`serve-app deploy`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from models import registry
from serve_app.cli.options import Reason, Url, Wait, actor, console, warn
from serve_app.cli.waiting import until_in_force
from serve_app.client import Client, service_url
from serve_app.deployment import config
from serve_app.home import open_home
from serve_app.yaml_file import name_of

app = typer.Typer(add_completion=False)

File = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="Such as deploy_configs/base.yaml; - is standard input."),
]
Diff = Annotated[bool, typer.Option("--diff", help="Print what would change, and deploy nothing.")]


@app.command()
def deploy(
    file: File, diff: Diff = False, reason: Reason = "", wait: Wait = True, url: Url = None
) -> None:
    """Deploy a configuration over the one that runs; it is checked before anything is sent."""
    document = config.read(file)
    rule = config.check(document, registry.names(config.registry_folder(document)))
    with Client(url or service_url(), open_home().token) as client:
        changes = config.differences(client.deployed(), document)
        _print(changes)
        if diff:
            return
        warn(rule.warnings())
        revision = client.deploy(document, actor(), reason or f"deploy {name_of(file)}")
        typer.echo(f"revision {revision} is deployed")
        if wait:
            until_in_force(client, revision)


def _print(changes: list[config.Difference]) -> None:
    if not changes:
        typer.echo("it is what runs already")
        return
    table = Table("key", "now", "then", "takes", box=None)
    for change in changes:
        table.add_row(
            escape(change.path),
            *("-" if value is None else escape(json.dumps(value)) for value in change.values),
            _takes(change),
        )
    console().print(table)


def _takes(change: config.Difference) -> str:
    if change.path.startswith("http_options"):
        return "effect after down and up"  # Serve's proxies read it when they start
    return "new replicas" if change.restarts else "effect in place"
