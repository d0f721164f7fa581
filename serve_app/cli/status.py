"""`serve-app status`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from serve_app.cli.options import (
    AsJson,
    Url,
    console,
    held,
    print_json,
    rule_line,
    tally,
    warn,
)
from serve_app.client import Client, service_url
from serve_app.errors import NotRunning, Rejected
from serve_app.health import troubles
from serve_app.home import open_home

app = typer.Typer(add_completion=False)


@app.command()
def status(url: Url = None, as_json: AsJson = False) -> None:
    """Say how the service is; exit 1 if anything is not as it should be."""
    with Client(url or service_url(), open_home().token) as client:
        control = client.status()
        try:
            rule, silence = client.rule(), []
        except (NotRunning, Rejected) as exc:  # such as while the data plane is recreated
            rule, silence = None, [str(exc)]
    found = troubles(control, rule) + silence
    if as_json:
        print_json({"healthy": not found, "troubles": found, **(rule or {}), **control})
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
        out.print(rule_line(rule))
    for line in _lines(control):
        out.print(escape(line))
    out.print()
    table = Table("application", "deployment", "status", "replicas", "versions", box=None)
    versions = {pool["pool"]: tally(held(pool)) for pool in (rule["pools"] if rule else [])}
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


def _lines(control: dict[str, Any]) -> Iterator[str]:
    recording = control["recording"]
    epoch = control["epoch"]["number"] if control["epoch"] else "-"
    yield (
        f"revision {control['revision'] or '-'}, epoch {epoch}; exposures:"
        f" {recording['stored']:,} stored, {recording['dropped']:,} dropped,"
        f" {recording['missing']:,} missing"
    )
    if control["recreation"]:
        yield _recreation(control["recreation"])
    copies = recording["shadow"] | {"dropped": recording["dropped_shadow_pairs"]}
    if any(copies.values()):
        yield "shadow: " + ", ".join(f"{count:,} {outcome}" for outcome, count in copies.items())


def _recreation(progress: dict[str, Any]) -> str:
    text = f"recreation of {progress['version']}, revision {progress['revision']}"
    text += f": {progress['state']}"
    if progress["downtime_s"] is not None:
        text += f", nobody was answered for {progress['downtime_s']:.1f} s"
    return f"{text}: {progress['message']}" if progress["message"] else text
