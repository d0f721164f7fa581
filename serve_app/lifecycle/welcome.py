"""What a user can do with a service that is ready: addresses, and commands ready to paste."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

from serve_app.home import HOME_VARIABLE, Home
from serve_app.lifecycle import ray_api

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
TARGETS = Path("/tmp/ray/prom_metrics_service_discovery.json")  # noqa: S108 Ray's choice


def welcome(url: str, home: Home) -> str:
    """What a start ends with; `url` is that of the service."""
    rows = [
        ("Service", url),
        ("Console", f"{url}/control   sign in with: cat {_typed(home.token_path)}"),
        ("Ray dashboard", f"{ray_api.DASHBOARD_URL}   token: cat {_typed(ray_api.token_path())}"),
    ]
    if targets := _prometheus_targets():
        rows.append(("Prometheus", f"{targets}   listed in {TARGETS}"))
    if _is_open(ray_api.token_path()):
        rows.append(("Careful", f"others can read it: chmod 600 {_typed(ray_api.token_path())}"))
    cat, koala = _near(EXAMPLES / "cat.png"), _near(EXAMPLES / "koala.png")
    headers = "-H 'Content-Type: image/png' -H 'X-User-Id: alice'"
    commands = [
        f"curl {headers} --data-binary @{cat} {url}/v1/classify",
        f"{command()} classify {koala}",
        f"{command()} status",
    ]
    addresses = [f"  {name:<15}{value}" for name, value in rows]
    return "\n".join(["", *addresses, "", "Next, from this folder:", "", *commands, ""])


def command(home: str | None = None) -> str:
    """What this user types for `serve-app`, with the home when it is not the default."""
    home = home or os.environ.get(HOME_VARIABLE)
    script = Path(sys.executable).with_name("serve-app")
    found = shutil.which("serve-app")
    if not script.exists():
        program = f"{shlex.quote(sys.executable)} -m serve_app"
    elif found and script.samefile(found):
        program = "serve-app"
    else:
        program = _near(script)
    return f"{HOME_VARIABLE}={shlex.quote(home)} {program}" if home else program


def _near(path: Path) -> str:
    """A path as a shell takes it, short when it lies in the working directory."""
    inside = path.is_relative_to(Path.cwd())
    return shlex.quote(str(path.relative_to(Path.cwd()) if inside else path))


def _typed(path: Path) -> str:
    """A path as a shell takes it, short when it lies in the user's directory."""
    if not path.is_relative_to(Path.home()):
        return shlex.quote(str(path))
    return f"~/{shlex.quote(str(path.relative_to(Path.home())))}"


def _is_open(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_mode & 0o077)


def _prometheus_targets() -> str:
    """Where Ray serves its metrics, when it says so."""
    try:
        groups = json.loads(TARGETS.read_text())
    except (OSError, ValueError):
        return ""
    return ", ".join(target for group in groups for target in group["targets"])
