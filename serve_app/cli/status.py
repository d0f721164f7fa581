"""`serve-app status`: the state of the service."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import typer
from rich.markup import escape

from serve_app.cli.options import (
    AsJson,
    Url,
    console,
    count_versions,
    format_counts,
    format_downtime,
    format_rule,
    print_json,
    warn,
)
from serve_app.cli.tables import Table
from serve_app.client import Client, service_url
from serve_app.errors import NotRunning, Rejected
from serve_app.home import open_home

app = typer.Typer(add_completion=False)


@app.command()
def status(url: Url = None, as_json: AsJson = False) -> None:
    """Show the state of the service; exits 1 if it is not healthy."""
    with Client(url or service_url(), open_home().token) as client:
        control = client.status()
        try:
            rule, errors = client.rule(), []
        except (NotRunning, Rejected) as exc:  # for example during a recreation
            rule, errors = None, [str(exc)]
    found = control["troubles"] + errors
    if as_json:
        print_json({**(rule or {}), **control, "healthy": not found, "troubles": found})
    else:
        _print(rule, control)
        warn(rule["warnings"] if rule else [])
        for trouble in found:
            typer.echo(trouble, err=True)
    if found:
        sys.exit(1)


def _print(rule: dict[str, Any] | None, control: dict[str, Any]) -> None:
    out = console()
    if rule:
        out.print(format_rule(rule))
    for line in _describe_control_plane(control):
        out.print(escape(line))
    out.print()
    table = Table("application", "deployment", "status", "replicas", "versions")
    versions = {
        pool["pool"]: format_counts(count_versions(pool)) or "-"
        for pool in (rule["pools"] if rule else [])
    }
    for name, application in control["applications"].items():
        for deployment, facts in application["deployments"].items():
            states = Counter(replica["state"].lower() for replica in facts["replicas"])
            counts = ", ".join(f"{count} {state}" for state, count in states.items()) or "none"
            table.add_row(
                name,
                deployment,
                facts["status"].lower(),
                f"{counts} (of {facts['target']})",
                versions.get(deployment, "-"),
            )
    out.print(table)


def _describe_control_plane(control: dict[str, Any]) -> Iterator[str]:
    recording = control["recording"]
    epoch = control["epoch"]["number"] if control["epoch"] else "-"
    yield f"revision {control['revision'] or '-'} is {_describe_convergence(control)}"
    yield (
        f"epoch {epoch}; exposures: {recording['stored']:,} stored,"
        f" {recording['dropped']:,} dropped, {recording['missing']:,} missing"
    )
    if control["recreation"]:
        yield _describe_recreation(control["recreation"])
    copies = recording["shadow"] | {"dropped": recording["dropped_shadow_pairs"]}
    if any(copies.values()):
        yield "shadow: " + ", ".join(f"{count:,} {outcome}" for outcome, count in copies.items())


def _describe_convergence(control: dict[str, Any]) -> str:
    if control["in_force"]:
        return "in force"
    found = (item["message"] for item in control["lacking"])
    progress = [message for message in found if message not in control["troubles"]]
    return f"not in force yet: {'; '.join(progress)}" if progress else "not in force"


def _describe_recreation(recreation: dict[str, Any]) -> str:
    text = f"recreation of {recreation['version']}, revision {recreation['revision']}"
    text += f": {recreation['phase'].replace('_', ' ')}"
    if recreation["downtime_s"] is not None:
        text += f", {format_downtime(recreation)}"
    return f"{text}: {recreation['message']}" if recreation["message"] else text
