"""A service with a home directory and a registry of its own, which faults may damage."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from benchmarks.environments import ROOT
from serve_app.deployment.names import DATA_PLANE, INGRESS
from serve_app.home import HOME_VARIABLE, Home
from serve_app.lifecycle.run import current_run
from serve_app.rules.plan import Pool
from serve_app.yaml_file import dump_yaml

URL = "http://127.0.0.1:8000"
COMMAND_TIMEOUT_S = 300.0
RECOVERY_TIMEOUT_S = 120.0
POLL_S = 0.5
SINGLE, CANARY = "base", "canary_parallel"  # files of deploy_configs
SHADOW, ROLLING = "shadow", "canary_rolling"
RULES = {name: name for name in (CANARY, SHADOW, ROLLING)} | {SINGLE: "single"}
ROLLING_REPLICAS = 2  # of which one is patched


class CommandFailed(Exception):
    """A command failed, or the service did not recover; the text says why."""


@dataclass(slots=True)
class Service:
    """A running service.

    Attributes:
        folder: Of its home directory, registry and configurations.
        in_use: The configuration that was deployed last.
    """

    folder: Path
    in_use: str
    _suspended: list[psutil.Process] = field(default_factory=list)

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    @property
    def registry(self) -> Path:
        return self.folder / "registry"

    def process(self, title: str) -> psutil.Process:
        """The youngest of its living processes with a command line.

        Args:
            title: A regular expression for the command line.

        Raises:
            CommandFailed: There is none.
        """
        run = current_run(self.home)
        found = [p for p in run.processes() if re.search(title, _command_line(p))] if run else []
        if not found:
            raise CommandFailed(f"the service has no process {title}")
        return max(found, key=lambda process: process.create_time())

    def suspend(self, process: psutil.Process) -> None:
        """Stop one of its processes until `resume`."""
        self._suspended.append(process)
        process.suspend()

    def resume(self) -> None:
        """Continue the suspended processes that are still there."""
        for process in self._suspended:
            with suppress(psutil.NoSuchProcess):
                process.resume()
        self._suspended.clear()

    def command(self, *arguments: str) -> str:
        """The output of a command of serve-app.

        Raises:
            CommandFailed: It exits with another code than 0.
        """
        done = subprocess.run(
            [sys.executable, "-m", "serve_app", *arguments],
            cwd=ROOT,
            env={**os.environ, HOME_VARIABLE: str(self.home.path), "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise CommandFailed(f"{' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def use(self, name: str) -> None:
        """Deploy a file of deploy_configs, unless it is in use."""
        if name != self.in_use:
            self.command("deploy", str(self.configuration(name)), "--reason", "chaos")
            self.in_use = name

    def configuration(self, name: str) -> Path:
        """A file of deploy_configs, with the registry of this service and as few replicas as work.

        Nothing is scaled up, so a process that dies has no other one that does the same.
        """
        document = yaml.safe_load((ROOT / "deploy_configs" / f"{name}.yaml").read_text())
        for application in document["applications"]:
            if application["name"] == DATA_PLANE:
                application["args"] = {"registry": str(self.registry)}
                for deployment in application["deployments"]:
                    _limit_replicas(deployment, name)
        path = self.folder / f"{name}.yaml"
        path.write_text(dump_yaml(document))
        return path

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def wait_until_steady(self) -> None:
        """Wait until `status` finds no trouble.

        Raises:
            CommandFailed: There is trouble after `RECOVERY_TIMEOUT_S`.
        """
        deadline = time.monotonic() + RECOVERY_TIMEOUT_S
        with httpx.Client(trust_env=False, timeout=30) as http:
            headers = {"Authorization": f"Bearer {self.home.token}"}
            status: Any = None
            while time.monotonic() < deadline:
                try:
                    response = http.get(f"{URL}/control/status", headers=headers)
                    status = response.json()
                except (httpx.HTTPError, ValueError) as exc:
                    status = exc
                else:
                    if response.is_success and status["in_force"] and not status["troubles"]:
                        return
                time.sleep(POLL_S)
        raise CommandFailed(f"not steady after {RECOVERY_TIMEOUT_S:.0f} s: {str(status)[:500]}")


def _limit_replicas(deployment: dict[str, Any], configuration: str) -> None:
    if deployment["name"] == INGRESS:
        deployment["autoscaling_config"] = {"min_replicas": 1, "max_replicas": 1}
        if configuration == ROLLING:
            deployment["user_config"]["rule"]["of"] = ROLLING_REPLICAS
    elif deployment["name"] == Pool.STABLE and configuration == ROLLING:
        deployment["user_config"]["patch"]["of"] = ROLLING_REPLICAS
        sizes = ("min_replicas", "initial_replicas", "max_replicas")
        deployment["autoscaling_config"] |= dict.fromkeys(sizes, ROLLING_REPLICAS)
    else:
        deployment["autoscaling_config"]["max_replicas"] = 1


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@contextmanager
def run_service(folder: Path, configuration: str) -> Iterator[Service]:
    """Start a service, and stop it at the end of the context.

    Raises:
        CommandFailed: It does not start.
    """
    service = Service(folder, configuration)
    service.home.path.mkdir(mode=0o700)
    shutil.copytree(ROOT / "models" / "registry", service.registry)
    try:
        service.command("up", str(service.configuration(configuration)), "--detach")
        yield service
    finally:
        service.command("down")
