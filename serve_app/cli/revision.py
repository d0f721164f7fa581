"""`serve-app revision`: lists and restores deployed configurations."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from serve_app.cli.changing import DryRun, Yes, key_table, make_change, new_change
from serve_app.cli.options import (
    AsJson,
    Reason,
    Url,
    Wait,
    console,
    format_time,
    print_json,
)
from serve_app.cli.tables import Table, facts
from serve_app.client import Client, service_url
from serve_app.control_plane.changes import Restore
from serve_app.deployment.config import differences
from serve_app.home import open_home
from serve_app.yaml_file import dump_yaml

app = typer.Typer(
    name="revision",
    add_completion=False,
    no_args_is_help=True,
    help="List, show, compare and restore configurations.",
)

Limit = Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of revisions.")]
AsYaml = Annotated[bool, typer.Option("--yaml", help="Print the configuration as YAML.")]
Number = Annotated[int, typer.Argument(metavar="N", min=1, help="A number from revision list.")]
Other = Annotated[int, typer.Argument(metavar="M", min=1, help="Another number.")]


@app.command("list")
def list_revisions(limit: Limit = 20, url: Url = None, as_json: AsJson = False) -> None:
    """List the revisions, newest first."""
    with Client(url or service_url(), open_home().token) as client:
        revisions = client.revisions(limit)
    if as_json:
        print_json(revisions)
        return
    table = Table("revision", "time", "change", "state", "rule", "actor", "reason")
    for revision in revisions:
        table.add_row(
            str(revision["number"]),
            format_time(revision["at_ms"]),
            revision["kind"],
            _describe_state(revision),
            revision["rule"]["sentence"],
            revision["actor"],
            revision["reason"],
        )
    console().print(table)


@app.command()
def show(number: Number, as_yaml: AsYaml = False, url: Url = None, as_json: AsJson = False) -> None:
    """Show a revision; with --yaml, its configuration as a file for `serve-app deploy`."""
    with Client(url or service_url(), open_home().token) as client:
        revision = client.revision(number)
    if as_json:
        print_json(revision)
    elif as_yaml:
        document = json.loads(json.dumps(revision["document"]))  # YAML has plain mappings only
        typer.echo(dump_yaml(document), nl=False)
    else:
        shown = (
            ("revision", str(revision["number"])),
            ("change", revision["kind"]),
            ("time", format_time(revision["at_ms"])),
            ("actor", revision["actor"]),
            ("reason", revision["reason"]),
            ("state", _describe_state(revision)),
            ("rule", revision["rule"]["sentence"]),
        )
        console().print(facts(shown))


@app.command()
def diff(number: Number, other: Other, url: Url = None) -> None:
    """Show the keys that differ between two revisions."""
    with Client(url or service_url(), open_home().token) as client:
        before, after = (client.revision(n)["document"] for n in (number, other))
    changes = differences(before, after)
    if not changes:
        typer.echo(f"revisions {number} and {other} are the same")
        return
    names = f"revision {number}", f"revision {other}"
    console().print(key_table(map(asdict, changes), *names))


@app.command()
def restore(
    number: Number,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    wait: Wait = True,
    url: Url = None,
) -> None:
    """Deploy a revision again, as a new revision, and wait until it is in force.

    Shows what will change first, and asks on a terminal if all users change version.
    """
    change = new_change(Restore, reason or f"restore revision {number}", revision=number)
    make_change(url, change, yes=yes, dry_run=dry_run, wait=wait)


def _describe_state(revision: dict[str, Any]) -> str:
    if revision["state"] != "deployed":
        return str(revision["state"])
    if revision["in_force"]:
        return "in force"
    return "was in force" if revision["in_force_at_ms"] else "deployed"
