"""`serve-app rule`: shows, sets and explains the rule in force."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from serve_app.cli.changing import DryRun, Yes, make_change, new_change
from serve_app.cli.options import (
    AsJson,
    Canary,
    Reason,
    Region,
    Session,
    Url,
    User,
    Version,
    Wait,
    console,
    describe_region,
    format_counts,
    format_rule,
    note,
    print_json,
    request_headers,
    warn,
)
from serve_app.cli.tables import Table, facts
from serve_app.client import Client, in_words, service_url
from serve_app.control_plane.changes import SetRule
from serve_app.deployment.config import user_configs
from serve_app.deployment.names import DATA_PLANE, INGRESS
from serve_app.errors import BadConfig
from serve_app.regions import country
from serve_app.rules.parse import rule_of
from serve_app.yaml_file import display_name, read_mapping

app = typer.Typer(
    name="rule", add_completion=False, no_args_is_help=True, help="Show, set and explain the rule."
)

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="YAML with the key rule, or a deployment file, of which only the rule is used;"
        " - reads standard input.",
    ),
]


ChangeStable = Annotated[
    bool,
    typer.Option(
        "--change-stable", help="Accept a rule whose stable version is not the one in force."
    ),
]


@app.command()
def show(url: Url = None, as_json: AsJson = False) -> None:
    """Show the rule in force, its candidate, and the version of each replica."""
    with Client(url or service_url()) as client:
        rule = client.rule()
    if as_json:
        print_json(rule)
        return
    out = console()
    out.print(format_rule(rule))
    out.print(f"effective weight {rule['effective_weight']:g}; {_describe_candidate(rule)}\n")
    table = Table("pool", "replica", "version", "predictions since the replica began")
    for pool in rule["pools"]:
        for replica in pool["replicas"]:
            table.add_row(
                pool["pool"],
                replica["replica"],
                replica["version"] or "none",
                format_counts(Counter(replica["answered"])) or "-",
            )
    out.print(table)
    warn(rule["warnings"])
    for rejection in _rejections(rule):
        typer.echo(rejection, err=True)


@app.command("set")
def set_rule(
    file: File,
    change_stable: ChangeStable = False,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    wait: Wait = True,
    url: Url = None,
) -> None:
    """Set a rule, scale its pools, and wait until it is in force.

    Shows what will change first, and asks on a terminal if all users change version.
    """
    content = read_mapping(file, "a rule, or a deployment file")
    is_whole = "applications" in content and "rule" not in content
    rule = rule_of(_ingress_config(content) if is_whole else content)
    if is_whole:
        typer.echo(f"using only the rule of {display_name(file)}")
    change = new_change(
        SetRule, reason or f"rule {rule.get('kind')}", rule=rule, change_stable=change_stable
    )
    make_change(url, change, yes=yes, dry_run=dry_run, wait=wait)


@app.command()
def explain(
    user: User = None,
    session: Session = None,
    region: Region = None,
    canary: Canary = None,
    version: Version = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Explain which version would serve a request, and why; runs no model."""
    with Client(url or service_url()) as client:
        if region and country(region):  # of others the plan has a note
            note(describe_region(region, client.rule()["rule"]))
        plan = client.explain(request_headers(user, session, region, canary, version))
    if as_json:
        print_json(plan)
        return
    shown = (
        ("version", plan["version"] or _describe_versions(plan)),
        ("reason", plan["reason"]),
        ("rule", f"{plan['rule']} {plan['rule_id']}"),
        ("experiment", plan["experiment"]),
        ("bucket", plan["bucket"]),
        ("threshold", plan["threshold"]),
        *(("note", in_words(text)) for text in plan["notes"]),
    )
    console().print(facts((key, str(value)) for key, value in shown if value is not None))


def _ingress_config(document: dict[str, Any]) -> dict[str, Any]:
    """The `user_config` of the ingress in a deployment file.

    Raises:
        BadConfig: The file has none.
    """
    try:
        return dict(user_configs(document)[INGRESS])
    except (KeyError, TypeError, ValueError) as exc:
        raise BadConfig(f"{DATA_PLANE}.{INGRESS}.user_config", "is missing or malformed") from exc


def _rejections(rule: dict[str, Any]) -> list[str]:
    """The configurations that the ingress and the pools rejected, one sentence each."""
    found = []
    if rejected := rule["rejected"]:
        found.append(f"a rule was rejected: {rejected['path']} {rejected['message']}")
    for pool in rule["pools"]:
        texts = {
            f"{rejection['path']} {rejection['message']}"
            for replica in pool["replicas"]
            if (rejection := replica["rejected"])
        }
        found += [f"{pool['pool']} rejected its configuration: {text}" for text in sorted(texts)]
    return found


def _describe_candidate(rule: dict[str, Any]) -> str:
    candidate = rule["candidate"]
    if candidate is None:
        return "no candidate"
    ready = "ready" if candidate["ready"] else "not ready"
    breaker = "closed" if candidate["up"] else "open"
    return (
        f"candidate {candidate['version']} in {candidate['pool']}: {ready},"
        f" circuit breaker {breaker}"
    )


def _describe_versions(plan: dict[str, Any]) -> str:
    """The versions that may serve a request, where the rule does not assign one.

    Args:
        plan: The response of `GET /v1/explain`.
    """
    if plan["shares"]:
        shares = (f"{version} {share:g}" for version, share in plan["shares"].items())
        return "drawn per request: " + ", ".join(shares)
    if plan["held"]:
        return f"depends on the replica: {format_counts(Counter(plan['held']))}"
    return "none: no replica is ready"
