"""`serve-app revision`: what was deployed, and back to it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from serve_app.cli.options import AsJson, Reason, Url, Wait, actor, console, print_json
from serve_app.cli.waiting import until_in_force
from serve_app.client import Client, service_url
from serve_app.deployment.config import user_configs
from serve_app.domain import INGRESS, Pool
from serve_app.home import open_home

app = typer.Typer(
    name="revision",
    add_completion=False,
    no_args_is_help=True,
    help="What was deployed, one after the other.",
)

Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many.")]
Number = Annotated[int, typer.Argument(metavar="N", min=1, help="As revision list says.")]


@app.command("list")
def list_revisions(limit: Limit = 20, url: Url = None, as_json: AsJson = False) -> None:
    """List what was deployed, the newest first."""
    with Client(url or service_url(), open_home().token) as client:
        revisions = client.revisions(limit)
    if as_json:
        print_json(revisions)
        return
    table = Table("revision", "when", "who", "why", "rule", "stable", box=None)
    for revision in revisions:
        when = datetime.fromtimestamp(revision["at_ms"] / 1000).astimezone()
        table.add_row(
            str(revision["number"]),
            when.isoformat(" ", "seconds"),
            escape(revision["actor"]),
            escape(revision["reason"]),
            *(escape(cell) for cell in _facts(revision["document"])),
        )
    console().print(table)


@app.command()
def restore(number: Number, reason: Reason = "", wait: Wait = True, url: Url = None) -> None:
    """Deploy a revision again, as a new one."""
    with Client(url or service_url(), open_home().token) as client:
        revision = client.restore(number, actor(), reason or f"restore revision {number}")
        typer.echo(f"revision {revision} is deployed")
        if wait:
            until_in_force(client, revision)


def _facts(document: dict[str, Any]) -> tuple[str, str]:
    """The rule's kind and the stable version; what came from outside may lack them."""
    configs = user_configs(document)
    rule = _part(configs.get(INGRESS), "rule")
    return str(_part(rule, "kind")), str(_part(configs.get(Pool.STABLE), "version"))


def _part(content: Any, key: str) -> Any:
    return content.get(key, "-") if isinstance(content, dict) else "-"
