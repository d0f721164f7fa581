"""`serve-app deploy`: deploys a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli.changing import DryRun, Yes, make_change, new_change
from serve_app.cli.options import Reason, Url, Wait
from serve_app.control_plane.changes import Deploy
from serve_app.deployment import config
from serve_app.yaml_file import display_name

app = typer.Typer(add_completion=False)

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="For example deploy_configs/base.yaml; - reads standard input."
    ),
]


@app.command()
def deploy(
    file: File,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    wait: Wait = True,
    url: Url = None,
) -> None:
    """Deploy a configuration and wait until it is in force.

    Shows what will change first, and asks on a terminal if all users change version.
    """
    change = new_change(
        Deploy, reason or f"deploy {display_name(file)}", document=config.read(file)
    )
    make_change(url, change, yes=yes, dry_run=dry_run, wait=wait)
