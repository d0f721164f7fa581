"""What several commands share."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[
    str | None,
    typer.Option(help="Where the service is; else SERVE_APP_URL, else this machine."),
]
Reason = Annotated[str, typer.Option(help="Why, for the audit.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is in force.")]

User = Annotated[str | None, typer.Option(help="The user who asks (X-User-Id).")]
Session = Annotated[str | None, typer.Option(help="The session (X-Session-Id).")]
Region = Annotated[str | None, typer.Option(help="ISO 3166-1 alpha-2, such as AU (X-Region).")]
Canary = Annotated[Literal["always", "never"] | None, typer.Option(help="The tag (X-Canary).")]
Version = Annotated[str | None, typer.Option(help="A pin (X-Model-Version).")]


def request_headers(
    user: str | None,
    session: str | None,
    region: str | None,
    canary: str | None,
    version: str | None,
) -> dict[str, str]:
    """The headers that say who asks."""
    headers = {
        "X-User-Id": user,
        "X-Session-Id": session,
        "X-Region": region,
        "X-Canary": canary,
        "X-Model-Version": version,
    }
    return {name: value for name, value in headers.items() if value}


def actor() -> str:
    """Who changes something, for the audit."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        return f"user {os.getuid()}"


def warn(warnings: Iterable[str]) -> None:
    """What is allowed and seldom wise."""
    for warning in warnings:
        typer.echo(f"Warning: {warning}", err=True)


def print_json(content: object) -> None:
    """JSON, for programs."""
    typer.echo(json.dumps(content, indent=2))


def console() -> Console:
    """Tables as wide as the terminal; 140 columns where there is none."""
    return Console(width=None if sys.stdout.isatty() else 140, highlight=False, soft_wrap=True)


def rule_line(rule: dict[str, Any]) -> str:
    """The rule in force, of what `GET /v1/rule` answers; in rich's markup."""
    settings = ", ".join(
        f"{key} {value if isinstance(value, str) else json.dumps(value)}"
        for key, value in rule["rule"].items()
        if key != "kind" and value is not None
    )
    return f"rule [bold]{rule['rule']['kind']}[/bold] {rule['rule_id']}: {escape(settings)}"


def held(pool: dict[str, Any]) -> Counter[str]:
    """How many replicas of a pool hold each version, of what `GET /v1/rule` answers."""
    return Counter(replica["version"] or "none" for replica in pool["replicas"])


def tally(versions: Counter[str]) -> str:
    """Such as `3 v1, 1 v2`."""
    return ", ".join(f"{count:,} {version}" for version, count in sorted(versions.items()))
