"""`serve-app update`: replaces the version that serves all users."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from serve_app.cli.changing import DryRun, Yes, make_change, new_change
from serve_app.cli.options import Reason, Url, Wait, format_downtime
from serve_app.control_plane.changes import Update
from serve_app.yaml_file import read_mapping

app = typer.Typer(add_completion=False)

Name = Annotated[str, typer.Argument(metavar="VERSION", help="For example v2.")]
Method = Annotated[
    Literal["rolling", "recreate"],
    typer.Option(
        help="Replica by replica in place, or tear down the data plane and build it again."
    ),
]
RuntimeEnv = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="With recreate: a YAML file with Ray's runtime_env."),
]


@app.command()
def update(
    version: Name,
    method: Method,
    runtime_env: RuntimeEnv = None,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    wait: Wait = True,
    url: Url = None,
) -> None:
    """Serve all users with a version, and wait until it is in force."""
    if runtime_env and method == "rolling":
        raise typer.BadParameter(
            "needs new processes: use --method recreate", param_hint="--runtime-env"
        )
    environment = read_mapping(runtime_env, "Ray's runtime_env") if runtime_env else None
    change = new_change(
        Update,
        reason or f"{method} update to {version}",
        version=version,
        method=method,
        runtime_env=environment,
    )
    status = make_change(url, change, yes=yes, dry_run=dry_run, wait=wait)
    if status and method == "recreate":
        typer.echo(f"{version} serves all users; {format_downtime(status['recreation'])}")
