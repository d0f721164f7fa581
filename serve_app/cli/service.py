"""`serve-app up` and `serve-app down`: the service on this machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from serve_app.home import open_home
from serve_app.lifecycle import down as ending
from serve_app.lifecycle import environment
from serve_app.lifecycle import up as starting
from serve_app.lifecycle.terminal import Terminal

app = typer.Typer(add_completion=False)

# What `up --help` ends with, for those who start with Ray's own command.
SETTINGS = "Sets for `serve run`, where they are not set: " + " ".join(
    f"{name}={shlex.quote(value)}" for name, value in environment.FAST.items()
)


@app.command(epilog=SETTINGS)
def up(
    file: Annotated[
        Path, typer.Argument(help="A Serve configuration.", show_default="deploy_configs/base.yaml")
    ] = starting.BASE,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when it is ready and leave it running.")
    ] = False,
) -> None:
    """Start Ray and the service, wait until it is ready, and end all of it on Ctrl-C."""
    starting.up(file, open_home(), Terminal(), detach)


@app.command()
def down() -> None:
    """End the service of this home, also what a killed start left of it."""
    ending.down(open_home(), Terminal())
