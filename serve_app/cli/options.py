"""What several commands share."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[
    str | None,
    typer.Option(help="Where the service is; else SERVE_APP_URL, else this machine."),
]


def print_json(content: object) -> None:
    """JSON, for programs."""
    typer.echo(json.dumps(content, indent=2))


def console() -> Console:
    """Tables as wide as the terminal; 140 columns where there is none."""
    return Console(width=None if sys.stdout.isatty() else 140, highlight=False, soft_wrap=True)
