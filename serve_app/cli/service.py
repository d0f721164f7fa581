"""`serve-app up` and `serve-app down`: start and stop the service on this machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli.options import actor
from serve_app.home import open_home
from serve_app.lifecycle.down import stop_service
from serve_app.lifecycle.environment import SERVE_DEFAULTS
from serve_app.lifecycle.terminal import Terminal
from serve_app.lifecycle.up import start_service

app = typer.Typer(add_completion=False)

# The end of `up --help`, for users who start the service with Ray's own command.
SETTINGS = "Sets these variables for `serve run`, unless they are set: " + " ".join(
    f"{name}={shlex.quote(value)}" for name, value in SERVE_DEFAULTS.items()
)


@app.command(epilog=SETTINGS)
def up(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A Serve configuration file. Default: the last revision that was in force, or"
            " deploy_configs/base.yaml at the first start.",
            show_default=False,
        ),
    ] = None,
    detach: Annotated[
        bool,
        typer.Option("--detach", help="Return when the service is ready and leave it running."),
    ] = False,
) -> None:
    """Start Ray and the service, wait until it is ready, and stop both on Ctrl-C."""
    start_service(file, open_home(), Terminal(), actor(), detach)


@app.command()
def down() -> None:
    """Stop the service of this home directory, also if `serve-app up` was killed."""
    stop_service(open_home(), Terminal())
