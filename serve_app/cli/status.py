"""`serve-app status`."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from serve_app.cli.options import AsJson, Url, console, print_json
from serve_app.client import Client, service_url
from serve_app.health import troubles
from serve_app.home import open_home


def status(url: Url = None, as_json: AsJson = False) -> None:
    """Say how the service is; exit 1 if anything is not as it should be."""
    with Client(url or service_url(), open_home().token) as client:
        rule, control = client.rule(), client.status()
    found = troubles(control, rule)
    if as_json:
        print_json({"healthy": not found, "troubles": found, **rule, **control})
    else:
        _print(rule, control)
        for trouble in found:
            typer.echo(trouble, err=True)
    if found:
        sys.exit(1)


def _print(rule: dict[str, Any], control: dict[str, Any]) -> None:
    out = console()
    settings = ", ".join(f"{key} {value}" for key, value in rule["rule"].items() if key != "kind")
    out.print(f"rule [bold]{rule['rule']['kind']}[/bold] {rule['rule_id']}: {escape(settings)}")
    recording = control["recording"]
    epoch = control["epoch"]["number"] if control["epoch"] else "-"
    out.print(
        f"revision {control['revision'] or '-'}, epoch {epoch}; exposures:"
        f" {recording['stored']:,} stored, {recording['dropped']:,} dropped,"
        f" {recording['missing']:,} missing\n"
    )
    table = Table("application", "deployment", "status", "replicas", "versions", box=None)
    versions = _versions(rule)
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


def _versions(rule: dict[str, Any]) -> dict[str, str]:
    """What the replicas of each pool are assigned, such as `3 v1, 1 v2`."""
    texts = {}
    for pool in rule["pools"]:
        counts = Counter(replica["version"] or "none" for replica in pool["replicas"])
        texts[pool["pool"]] = ", ".join(f"{n} {version}" for version, n in sorted(counts.items()))
    return texts
