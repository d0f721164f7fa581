"""`serve-app revision`: lists and restores deployed configurations."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from serve_app.cli.options import AsJson, Reason, Url, Wait, actor, console, print_json
from serve_app.cli.waiting import wait_until_in_force
from serve_app.client import Client, service_url
from serve_app.deployment.config import user_configs
from serve_app.domain import INGRESS, Pool
from serve_app.home import open_home

app = typer.Typer(
    name="revision",
    add_completion=False,
    no_args_is_help=True,
    help="List and restore deployed configurations.",
)

Limit = Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of revisions.")]
Number = Annotated[int, typer.Argument(metavar="N", min=1, help="A number from revision list.")]


@app.command("list")
def list_revisions(limit: Limit = 20, url: Url = None, as_json: AsJson = False) -> None:
    """List the revisions, newest first."""
    with Client(url or service_url(), open_home().token) as client:
        revisions = client.revisions(limit)
    if as_json:
        print_json(revisions)
        return
    table = Table("revision", "time", "actor", "reason", "rule", "stable", box=None)
    for revision in revisions:
        time = datetime.fromtimestamp(revision["at_ms"] / 1000).astimezone()
        table.add_row(
            str(revision["number"]),
            time.isoformat(" ", "seconds"),
            escape(revision["actor"]),
            escape(revision["reason"]),
            *(escape(cell) for cell in _rule_and_stable(revision["document"])),
        )
    console().print(table)


@app.command()
def restore(number: Number, reason: Reason = "", wait: Wait = True, url: Url = None) -> None:
    """Deploy a revision again, as a new revision, and wait until it is in force."""
    with Client(url or service_url(), open_home().token) as client:
        revision = client.restore(number, actor(), reason or f"restore revision {number}")
        typer.echo(f"revision {revision} is deployed")
        if wait:
            wait_until_in_force(client, revision)


def _rule_and_stable(document: dict[str, Any]) -> tuple[str, str]:
    """The kind of the rule and the stable version.

    Both are `-` if the document lacks them, as one deployed with Ray's command may.
    """
    configs = user_configs(document)
    rule = _get(configs.get(INGRESS), "rule")
    return str(_get(rule, "kind")), str(_get(configs.get(Pool.STABLE), "version"))


def _get(content: Any, key: str) -> Any:
    return content.get(key, "-") if isinstance(content, dict) else "-"
