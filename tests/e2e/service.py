"""A real service with its own home directory and Ray, over HTTP."""

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
COMMAND_TIMEOUT_S = 300.0
METRICS_S = 2.0  # report interval of Ray's processes; the default is 10 s


@dataclass
class Service:
    """A running service and the commands of its home directory."""

    home: Path
    http: httpx.Client

    def command(self, *arguments: str, fails: bool = False) -> str:
        """Run a command; returns stdout, or stderr if exit code 1 is expected (`fails`)."""
        result = subprocess.run(
            [sys.executable, "-m", "serve_app", *arguments],
            cwd=ROOT,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert result.returncode == int(fails), f"{arguments}: {result.stdout}\n{result.stderr}"
        return result.stderr if fails else result.stdout

    def serve_deploy(self, file: Path) -> None:
        """Deploy with Ray's own command, without the checks of serve-app."""
        result = subprocess.run(
            [Path(sys.executable).with_name("serve"), "deploy", file],
            cwd=ROOT,
            env=self.environ | {"RAY_AUTH_MODE": "token"},
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert result.returncode == 0, result.stderr

    @contextlib.contextmanager
    def in_background(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command in the background; it is killed when the context ends."""
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
        """The output of a command with --json."""
        return json.loads(self.command(*arguments, "--json"))

    def classify(self, image: bytes, **headers: str) -> httpx.Response:
        renamed = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(
            "/v1/classify", content=image, headers={"Content-Type": "image/png", **renamed}
        )

    def get_control(self, path: str) -> Any:
        """The response of a GET request to the control plane."""
        response = self.http.get(
            f"/control/{path}", headers={"Authorization": f"Bearer {self.token}"}
        )
        assert response.status_code == 200, response.text
        return response.json()

    def is_ready(self) -> bool:
        """Whether `/readyz` succeeds."""
        return self.http.get("/readyz").is_success

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
def service_starter(home: Path) -> Iterator[Callable[[Path], Service]]:
    """A function that starts a service from a deployment file; stopped when the context ends."""
    home.chmod(0o700)
    with httpx.Client(base_url=URL, timeout=30) as http:
        service = Service(home, http)

        def start(file: Path) -> Service:
            service.command("up", str(file), "--detach")
            return service

        try:
            yield start
        finally:
            service.command("down")
