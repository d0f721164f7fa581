"""Makes a change: shows what it will do, asks, makes it, and waits until it is in force."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from serve_app.cli.options import actor, note, say, warn
from serve_app.cli.tables import Table
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
        The status when the change is in force; None if the caller did not wait for it.

    Raises:
        DeployFailed: See `wait_until_in_force`.
        typer.Abort: The change is not confirmed.
    """
    with Client(url or service_url(), open_home().token) as client:
        preview = client.preview(change)
        _print_preview(preview)
        if dry_run:
            if preview["differences"]:
                say("\nkeys that differ:")
            for difference in preview["differences"]:
                say("{}: {} → {}".format(*_key_cells(difference)))
            return None
        if preview["confirmations"] and not yes and sys.stdin.isatty():
            typer.confirm(f"{'; '.join(preview['confirmations'])}. Continue?", abort=True)
        applied = client.apply(
            change.model_copy(update={"base_revision": preview["base_revision"]})
        )
        revision: int = applied["revision"]
        say(f"revision {revision} with rule {applied['rule_id']} is deployed")
        if not wait:
            return None
        try:
            status = wait_until_in_force(client, revision, recreates=change.kind == "recreate")
        except KeyboardInterrupt:
            note(
                f"revision {revision} stays deployed: serve-app status shows whether it is in"
                f" force, serve-app revision restore {preview['base_revision']} reverts it"
            )
            raise
        say(f"rule {applied['rule_id']} is in force")
        return status


def _print_preview(preview: dict[str, Any]) -> None:
    if not preview["changes"]:
        say("nothing changes: this configuration is deployed already")
    for sentence in preview["changes"]:
        say(sentence)
    warn(preview["warnings"])


def key_table(differences: Iterable[dict[str, Any]], before: str, after: str) -> Table:
    """The keys that differ between two configurations.

    Args:
        differences: With `path`, `before` and `after`; None is a missing key.
        before, after: The names of the configurations.
    """
    table = Table("key", before, after)
    for difference in differences:
        table.add_row(*_key_cells(difference))
    return table


def _key_cells(difference: dict[str, Any]) -> tuple[str, str, str]:
    before, after = (
        "-" if value is None else json.dumps(value)
        for value in (difference["before"], difference["after"])
    )
    return difference["path"], before, after
