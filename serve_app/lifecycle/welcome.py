"""The text that `up` prints when the service is ready: addresses and example commands."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

from serve_app.home import HOME_VARIABLE, Home
from serve_app.lifecycle import ray_api, ray_token

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
# Ray writes this file.
PROMETHEUS_TARGETS = Path("/tmp/ray/prom_metrics_service_discovery.json")  # noqa: S108


def welcome_text(url: str, home: Home) -> str:
    """The addresses of the service at `url`, and commands to try."""
    rows = [
        ("Service", url),
        ("Console", f"{url}/control   token: cat {_home_path(home.token_path)}"),
        (
            "Ray dashboard",
            f"{ray_api.DASHBOARD_URL}   token: cat {_home_path(ray_token.token_path())}",
        ),
    ]
    if targets := _read_prometheus_targets():
        rows.append(("Prometheus", f"{targets}   listed in {PROMETHEUS_TARGETS}"))
    if ray_token.is_readable_by_others():
        token = _home_path(ray_token.token_path())
        rows.append(("Recommended", f"hide Ray's token from other users: chmod 600 {token}"))
    cat, koala = _relative_path(EXAMPLES / "cat.png"), _relative_path(EXAMPLES / "koala.png")
    headers = "-H 'Content-Type: image/png' -H 'X-User-Id: alice'"
    commands = [
        f"curl {headers} --data-binary @{cat} {url}/v1/classify",
        f"{cli_command()} classify {koala}",
        f"{cli_command()} status",
    ]
    addresses = [f"  {name:<15}{value}" for name, value in rows]
    return "\n".join(["", *addresses, "", "Try, from this folder:", "", *commands, ""])


def cli_command(home: str | None = None) -> str:
    """The shell command for `serve-app`, with SERVE_APP_HOME if it is not the default."""
    home = home or os.environ.get(HOME_VARIABLE)
    script = Path(sys.executable).with_name("serve-app")
    found = shutil.which("serve-app")
    if not script.exists():
        program = f"{shlex.quote(sys.executable)} -m serve_app"
    elif found and script.samefile(found):
        program = "serve-app"
    else:
        program = _relative_path(script)
    return f"{HOME_VARIABLE}={shlex.quote(home)} {program}" if home else program


def _relative_path(path: Path) -> str:
    """The path in shell quotes; relative if it lies in the working directory."""
    is_inside = path.is_relative_to(Path.cwd())
    return shlex.quote(str(path.relative_to(Path.cwd()) if is_inside else path))


def _home_path(path: Path) -> str:
    """The path in shell quotes; with `~` if it lies in the user's directory."""
    if not path.is_relative_to(Path.home()):
        return shlex.quote(str(path))
    return f"~/{shlex.quote(str(path.relative_to(Path.home())))}"


def _read_prometheus_targets() -> str:
    """The addresses of Ray's metrics; empty if Ray has not written them."""
    try:
        groups = json.loads(PROMETHEUS_TARGETS.read_text())
    except (OSError, ValueError):
        return ""
    return ", ".join(target for group in groups for target in group["targets"])
