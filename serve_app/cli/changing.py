"""Makes a change: shows what it will do, asks, makes it, and waits until it is in force."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from serve_app.cli.options import actor, warn
from serve_app.cli.waiting import wait_until_in_force
from serve_app.client import Client, service_url
from serve_app.control_plane.changes import ConfigChange
from serve_app.home import open_home
from serve_app.rules.validation import validate

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what the change would do, and change nothing.")
]


def new_change(kind: type[ConfigChange], reason: str, **fields: Any) -> ConfigChange:
    """A change by the current user.

    Raises:
        BadConfig: A field is invalid.
    """
    return validate(kind, {"actor": actor(), "reason": reason, **fields}, "")


def make_change(
    url: str | None, change: ConfigChange, *, yes: bool, dry_run: bool, wait: bool
) -> dict[str, Any] | None:
    """Show a change, ask for confirmation on a terminal, make it and wait.

    Args:
        url: Of the service; by default, see `service_url`.

    Returns:
        The status when the change is in force; None if nobody waited for it.

    Raises:
        DeployFailed: See `wait_until_in_force`.
        typer.Abort: The change is not confirmed.
    """
    with Client(url or service_url(), open_home().token) as client:
        preview = client.preview(change)
        _print_preview(preview)
        if dry_run:
            return None
        if preview["confirmations"] and not yes and sys.stdin.isatty():
            typer.confirm(f"{'; '.join(preview['confirmations'])}. Continue?", abort=True)
        applied = client.apply(
            change.model_copy(update={"base_revision": preview["base_revision"]})
        )
        revision: int = applied["revision"]
        typer.echo(f"revision {revision} with rule {applied['rule_id']} is deployed")
        if not wait:
            return None
        status = wait_until_in_force(client, revision, recreates=change.kind == "recreate")
        typer.echo(f"rule {applied['rule_id']} is in force")
        return status


def _print_preview(preview: dict[str, Any]) -> None:
    if not preview["changes"]:
        typer.echo("nothing changes: this configuration is deployed already")
    for sentence in preview["changes"]:
        typer.echo(sentence)
    warn(preview["warnings"])
