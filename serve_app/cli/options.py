"""Options and output helpers that several commands share."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape

from serve_app.cli.tables import ENDLESS
from serve_app.regions import country, describe_unknown_country, members

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[
    str | None,
    typer.Option(help="The URL of the service. Default: SERVE_APP_URL, else this machine."),
]
Reason = Annotated[str, typer.Option(help="The reason, for the audit log.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the change is in force.")]

User = Annotated[str | None, typer.Option(help="User id (X-User-Id).")]
Session = Annotated[str | None, typer.Option(help="Session id (X-Session-Id).")]
Region = Annotated[
    str | None, typer.Option(help="Country, ISO 3166-1 alpha-2, such as AU (X-Region).")
]
Canary = Annotated[Literal["always", "never"] | None, typer.Option(help="Tag (X-Canary).")]
Version = Annotated[str | None, typer.Option(help="Pin to a version (X-Model-Version).")]


def request_headers(
    user: str | None,
    session: str | None,
    region: str | None,
    canary: str | None,
    version: str | None,
) -> dict[str, str]:
    """The request headers of these options.

    Raises:
        typer.BadParameter: A value cannot be sent in a header.
    """
    options = {
        "--user": ("X-User-Id", user),
        "--session": ("X-Session-Id", session),
        "--region": ("X-Region", region),
        "--canary": ("X-Canary", canary),
        "--version": ("X-Model-Version", version),
    }
    for option, (_, value) in options.items():
        if value is not None and not (value.strip() and value.isprintable()):
            raise typer.BadParameter(f"{value!r}: expected printable characters", param_hint=option)
    return {name: value.strip() for name, value in options.values() if value is not None}


def describe_region(region: str, rule: dict[str, Any]) -> str | None:
    """What is surprising about a region under a rule; None if nothing is.

    Args:
        rule: The `rule` of the response of `GET /v1/rule`.
    """
    code = country(region)
    if code is None:
        return f"--region {describe_unknown_country(region)}; the request has no region"
    targeted = rule.get("regions")
    if targeted and not any(code in (members(name) or ()) for name in targeted):
        return f"{code} is in none of the rule's regions: {', '.join(targeted)}"
    return None


def actor() -> str:
    """The current user, for the audit log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container the user may have no name
        return f"user {os.getuid()}"


def say(text: str) -> None:
    """Print a sentence, wrapped at words where the console is narrower."""
    console().print(text, markup=False)


def warn(warnings: Iterable[str]) -> None:
    """Print warnings to stderr."""
    for warning in warnings:
        typer.echo(f"Warning: {warning}", err=True)


def note(text: str | None) -> None:
    """Print a note to stderr, if there is one."""
    if text:
        typer.echo(f"Note: {text}", err=True)


def format_time(at_ms: int) -> str:
    """A time in the local time zone, ISO 8601."""
    return datetime.fromtimestamp(at_ms / 1000).astimezone().isoformat(" ", "seconds")


def print_json(content: object) -> None:
    """Print JSON to stdout."""
    typer.echo(json.dumps(content, indent=2))


def console() -> Console:
    """A console as wide as the terminal, or as COLUMNS says. Without both, lines have any length:
    a program reads them."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return Console(highlight=False, emoji=False)
    return Console(width=ENDLESS, highlight=False, emoji=False, soft_wrap=True)


def format_rule(rule: dict[str, Any]) -> str:
    """One line of rich markup for the rule in force.

    Args:
        rule: The response of `GET /v1/rule`.
    """
    settings = ", ".join(
        f"{key} {value if isinstance(value, str) else json.dumps(value)}"
        for key, value in rule["rule"].items()
        if key != "kind" and value is not None
    )
    return f"rule [bold]{rule['rule']['kind']}[/bold] {rule['rule_id']}: {escape(settings)}"


def count_versions(pool: dict[str, Any]) -> Counter[str]:
    """The number of replicas by version.

    Args:
        pool: A pool in the response of `GET /v1/rule`.
    """
    return Counter(replica["version"] or "none" for replica in pool["replicas"])


def format_downtime(recreation: dict[str, Any]) -> str:
    """The downtime of a recreation that has ended.

    Args:
        recreation: From the response of `GET /control/status`.
    """
    seconds = f"{recreation['downtime_s']:.1f} s"
    if recreation["is_upper_bound"]:
        return f"downtime at most {seconds}, because the Controller was restarted meanwhile"
    return f"downtime {seconds}"


def format_counts(counts: Counter[str]) -> str:
    """Counts as text, such as `3 v1, 1 v2`."""
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))
