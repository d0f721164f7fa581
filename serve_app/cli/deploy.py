"""`serve-app deploy`."""

from __future__ import annotations

import getpass
import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from models import registry
from serve_app import config
from serve_app.cli.options import Url, console
from serve_app.client import Client, service_url
from serve_app.domain import Pool
from serve_app.errors import DeployFailed, NotRunning, Refused
from serve_app.health import troubles
from serve_app.home import open_home
from serve_app.rules.parse import ingress_config

WAIT_S = 180.0
POLL_S = 0.5
REFUSED_S = 10.0  # a rule that was refused before may show as long
SETTLE_S = 1.0  # Serve reports the old state for as long

File = Annotated[Path, typer.Argument(metavar="FILE", help="Such as deploy_configs/base.yaml.")]
Diff = Annotated[bool, typer.Option("--diff", help="Print what would change, and deploy nothing.")]
Reason = Annotated[str, typer.Option(help="Why, for the audit.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is in force.")]


def deploy(
    file: File, diff: Diff = False, reason: Reason = "", wait: Wait = True, url: Url = None
) -> None:
    """Deploy a configuration over the one that runs; it is checked before anything is sent."""
    document = config.read(file)
    known = registry.names(config.registry_folder(document))
    config.check(document, known)
    with Client(url or service_url(), open_home().token) as client:
        changes = config.differences(client.deployed(), document)
        _print(changes)
        if diff:
            return
        revision = client.deploy(document, _user(), reason or f"deploy {file}")
        typer.echo(f"revision {revision} is deployed")
        if wait:
            _wait(client, document, known)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        return f"user {os.getuid()}"


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


def _wait(client: Client, document: dict[str, Any], known: tuple[str, ...]) -> None:
    wanted = config.user_configs(document)
    rule_id = ingress_config(wanted[config.INGRESS], known).rule_id
    deadline = time.monotonic() + WAIT_S
    refused_for_good = time.monotonic() + REFUSED_S
    missing = "Serve has not begun"
    time.sleep(SETTLE_S)
    while time.monotonic() < deadline:
        try:
            rule, status = client.rule(), client.status()
        except (NotRunning, Refused) as exc:  # being replaced
            missing = str(exc)
        else:
            if rule["rejected"] and time.monotonic() > refused_for_good:
                raise DeployFailed("; ".join(troubles(status, rule)))
            missing = _missing(rule, status, rule_id, wanted)
            if not missing:
                typer.echo(f"rule {rule_id} is in force")
                return
        time.sleep(POLL_S)
    raise DeployFailed(f"not in force after {WAIT_S:g} s: {missing}; see serve-app status")


def _missing(
    rule: dict[str, Any], status: dict[str, Any], rule_id: str, wanted: dict[str, Any]
) -> str:
    if found := troubles(status, rule):
        return "; ".join(found)
    if rule["rule_id"] != rule_id:
        return f"rule {rule['rule_id']} is still in force"
    for pool in rule["pools"]:
        version = (wanted.get(pool["pool"]) or {}).get("version")
        held = {replica["version"] for replica in pool["replicas"]}
        if version and held - {version}:
            others = ", ".join(sorted(str(other) for other in held - {version}))
            return f"{pool['pool']} still holds {others}"
        if pool["pool"] == Pool.STABLE and not held:
            return f"no replica of {pool['pool']} tells what it holds"
    return ""
