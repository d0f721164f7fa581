"""`serve-app update`: replaces the version that serves all users."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from serve_app.cli.options import Reason, Url, Wait, actor
from serve_app.cli.waiting import wait_until_in_force, wait_until_recreated
from serve_app.client import Client, service_url
from serve_app.home import open_home
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
    wait: Wait = True,
    url: Url = None,
) -> None:
    """Serve all users with a version, and wait until it is in force."""
    if runtime_env and method == "rolling":
        raise typer.BadParameter(
            "needs new processes: use --method recreate", param_hint="--runtime-env"
        )
    environment = read_mapping(runtime_env, "Ray's runtime_env") if runtime_env else None
    audit_reason = reason or f"{method} update to {version}"
    with Client(url or service_url(), open_home().token) as client:
        revision = client.update(version, method, environment, actor(), audit_reason)
        if method == "rolling":
            typer.echo(f"revision {revision} is deployed")
            if wait:
                wait_until_in_force(client, revision)
        else:
            typer.echo(f"revision {revision} is deployed; recreating the data plane")
            if wait:
                downtime_s = wait_until_recreated(client, revision)
                wait_until_in_force(client, revision)
                typer.echo(f"{version} serves all users; {_describe_downtime(downtime_s)}")


def _describe_downtime(downtime_s: float | None) -> str:
    if downtime_s is None:
        return "downtime unknown: the Controller was restarted"
    return f"downtime {downtime_s:.1f} s"
