"""A real service: its own home, its own Ray, real HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
URL = "http://127.0.0.1:8000"
PATIENCE_S = 300.0
METRICS_S = 2.0  # how often Ray's processes tell theirs; by default, every ten seconds


@dataclass
class Service:
    """A running service and the commands of its home."""

    home: Path
    http: httpx.Client

    def command(self, *arguments: str, fails: bool = False) -> str:
        """What a command printed; `fails` expects exit 1 and gives stderr instead."""
        done = subprocess.run(
            [sys.executable, "-m", "serve_app", *arguments],
            cwd=ROOT,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == int(fails), f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stderr if fails else done.stdout

    def serve_deploy(self, file: Path) -> None:
        """Deploy by Ray's own command, which checks nothing of ours."""
        done = subprocess.run(
            [Path(sys.executable).with_name("serve"), "deploy", file],
            cwd=ROOT,
            env=self.environ | {"RAY_AUTH_MODE": "token"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    @contextlib.contextmanager
    def in_background(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command that runs while something else is looked at; gone when that ends or fails."""
        with subprocess.Popen(
            [sys.executable, "-m", "serve_app", *arguments],
            cwd=ROOT,
            env=self.environ,
            stdin=subprocess.DEVNULL,
        ) as command:
            try:
                yield command
            finally:
                command.kill()

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json."""
        return json.loads(self.command(*arguments, "--json"))

    def classify(self, image: bytes, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(
            "/v1/classify", content=image, headers={"Content-Type": "image/png", **named}
        )

    def control(self, path: str) -> Any:
        """A GET of the control plane."""
        answer = self.http.get(
            f"/control/{path}", headers={"Authorization": f"Bearer {self.token}"}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def token(self) -> str:
        return (self.home / "token").read_text().strip()

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | {
            "SERVE_APP_HOME": str(self.home),
            "COLUMNS": "200",
            "RAY_metrics_report_interval_ms": str(int(1000 * METRICS_S)),
        }


@contextlib.contextmanager
def starting(home: Path) -> Iterator[Callable[[Path], Service]]:
    """Starts a service from a deployment file; it ends with this."""
    home.chmod(0o700)
    with httpx.Client(base_url=URL, timeout=30) as http:
        service = Service(home, http)

        def begin(file: Path) -> Service:
            service.command("up", str(file), "--detach")
            return service

        try:
            yield begin
        finally:
            service.command("down")
