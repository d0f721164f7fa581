"""`serve-app deploy`: deploys a configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from models import registry
from serve_app.cli.options import Reason, Url, Wait, actor, console, warn
from serve_app.cli.waiting import wait_until_in_force
from serve_app.client import Client, service_url
from serve_app.deployment import config
from serve_app.home import open_home
from serve_app.yaml_file import display_name

app = typer.Typer(add_completion=False)

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="For example deploy_configs/base.yaml; - reads standard input."
    ),
]
Diff = Annotated[bool, typer.Option("--diff", help="Print the changes without deploying them.")]


@app.command()
def deploy(
    file: File, diff: Diff = False, reason: Reason = "", wait: Wait = True, url: Url = None
) -> None:
    """Deploy a configuration and wait until it is in force.

    The configuration is checked before it is sent.
    """
    document = config.read(file)
    rule = config.check(document, registry.names(config.registry_folder(document)))
    with Client(url or service_url(), open_home().token) as client:
        changes = config.differences(client.deployment(), document)
        _print_changes(changes)
        if diff:
            return
        warn(rule.warnings())
        revision = client.deploy(document, actor(), reason or f"deploy {display_name(file)}")
        typer.echo(f"revision {revision} is deployed")
        if wait:
            wait_until_in_force(client, revision)


def _print_changes(changes: list[config.Difference]) -> None:
    if not changes:
        typer.echo("no changes: this configuration is deployed already")
        return
    table = Table("key", "now", "new", "applied", box=None)
    for change in changes:
        table.add_row(
            escape(change.path),
            *("-" if value is None else escape(json.dumps(value)) for value in change.values),
            _describe_effect(change),
        )
    console().print(table)


def _describe_effect(change: config.Difference) -> str:
    if change.path.startswith("http_options"):
        return "after down and up"  # Serve's proxies read it when they start
    return "with new replicas" if change.restarts_replicas else "in place"
