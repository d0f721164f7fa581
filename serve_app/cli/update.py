"""`serve-app update`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from serve_app.cli.options import Reason, Url, Wait, actor
from serve_app.cli.waiting import until_in_force, until_recreated
from serve_app.client import Client, service_url
from serve_app.home import open_home
from serve_app.yaml_file import read_mapping

app = typer.Typer(add_completion=False)

Name = Annotated[str, typer.Argument(metavar="VERSION", help="Such as v2.")]
Method = Annotated[
    Literal["rolling", "recreate"],
    typer.Option(help="Replica by replica in place, or all torn down and built anew."),
]
RuntimeEnv = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="With recreate: Ray's runtime_env, as a YAML mapping."),
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
    """Have a version answer everybody."""
    if runtime_env and method == "rolling":
        raise typer.BadParameter(
            "takes new processes: use --method recreate", param_hint="--runtime-env"
        )
    environment = read_mapping(runtime_env, "Ray's runtime_env") if runtime_env else None
    why = reason or f"{method} update to {version}"
    with Client(url or service_url(), open_home().token) as client:
        revision = client.update(version, method, environment, actor(), why)
        if method == "rolling":
            typer.echo(f"revision {revision} is deployed")
            if wait:
                until_in_force(client, revision)
        else:
            typer.echo(f"revision {revision} is being built")
            if wait:
                downtime_s = until_recreated(client, revision)
                until_in_force(client, revision)
                typer.echo(f"{version} serves; {_gap(downtime_s)}")


def _gap(seconds: float | None) -> str:
    if seconds is None:
        return "how long nobody was answered is not known: another Controller took over"
    return f"nobody was answered for {seconds:.1f} s"
