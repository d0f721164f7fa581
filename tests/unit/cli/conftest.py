"""The commands ask a real server in this process: both planes, over pools that are not Ray's."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from serve_app import cli, config
from serve_app.domain import Pool
from serve_app.errors import BadConfig, RefusedConfig
from serve_app.home import Home, open_home
from serve_app.http import control_plane
from serve_app.http.session import Doorkeeper
from serve_app.rules.parse import ingress_config
from tests.unit.service import Service

ROOT = Path(__file__).parents[3]


class FakeController:
    """Obeys a deployment at once, as Serve would in a while.

    Attributes:
        document: What runs.
        deployed_by: Actor and reason of each deployment that came in.
        unhealthy: Deployment to message.
        is_deaf: What is deployed takes no effect.
    """

    def __init__(self, service: Service) -> None:
        self.document = config.read(ROOT / "deploy_configs/base.yaml")
        self.deployed_by: list[tuple[str, str]] = []
        self.unhealthy: dict[str, str] = {}
        self.is_deaf = False
        self._service = service

    async def status(self) -> dict[str, Any]:
        return {
            "applications": {
                name: {"status": "RUNNING", "message": "", "deployments": deployments}
                for name, deployments in {
                    "animals": {n: self._deployment(n) for n in ("Ingress", "StablePool")},
                    "control": {"Console": self._deployment("Console")},
                }.items()
            },
            "revision": len(self.deployed_by) or None,
            "epoch": {"number": 3},
            "recording": {"stored": 12_345, "dropped": 0, "missing": 2, "writers": []},
        }

    def _deployment(self, name: str) -> dict[str, Any]:
        return {
            "status": "UNHEALTHY" if name in self.unhealthy else "HEALTHY",
            "message": self.unhealthy.get(name, ""),
            "target": 1,
            "replicas": [{"replica": f"{name}-1", "state": "RUNNING", "pid": 7}],
        }

    async def deployed(self) -> dict[str, Any]:
        return deepcopy(self.document)

    async def deploy(self, document: dict[str, Any], actor: str, reason: str) -> int:
        versions = self._service.plane.versions.names()
        try:
            config.check(document, versions)
        except BadConfig as refusal:
            raise RefusedConfig(str(refusal)) from refusal
        self.deployed_by.append((actor, reason))
        if not self.is_deaf:
            self.document = document
            configs = config.user_configs(document)
            self._service.plane.obey(ingress_config(configs["Ingress"], versions))
            self._service.pools.assigned[Pool.STABLE] = configs["StablePool"]["version"]
        return len(self.deployed_by)

    async def revisions(self, limit: int) -> list[dict[str, Any]]:
        return []

    async def audit(self, limit: int) -> list[dict[str, Any]]:
        return []


@dataclass(frozen=True)
class Running:
    """A service that answers at `url`."""

    url: str
    service: Service
    controller: FakeController


@dataclass(frozen=True)
class Done:
    """What became of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]
Serve = Callable[[ASGIApp], str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("SERVE_APP_HOME", str(tmp_path / "home"))
    return open_home()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Serves an application on a free port, where the commands look for it; returns its URL."""
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(app: ASGIApp) -> str:
        server = uvicorn.Server(
            uvicorn.Config(app, "127.0.0.1", 0, log_config=None, access_log=False, ws="none")
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        servers.append((server, thread))
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.005)
        (listening,) = server.servers
        url = "http://{}:{}".format(*listening.sockets[0].getsockname())
        monkeypatch.setenv("SERVE_APP_URL", url)
        return url

    yield start
    for server, _ in servers:
        server.should_exit = True
    for _, thread in servers:
        thread.join(20)


@pytest.fixture
def running(tmp_path: Path, home: Home, serve: Serve) -> Running:
    """Both planes, as behind Serve's proxy."""
    service = Service(tmp_path)
    controller = FakeController(service)

    @contextlib.asynccontextmanager
    async def nothing_beside(_: FastAPI) -> AsyncIterator[None]:
        yield

    control = control_plane.application(
        controller, Doorkeeper(home.token), lambda _: None, nothing_beside
    )
    app = Starlette(routes=[Mount("/control", control), Mount("/", service.app)])
    return Running(serve(app), service, controller)


@pytest.fixture
def command(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs `serve-app` with arguments, as its console script does."""

    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["serve-app", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            code: Any = 0
        except SystemExit as exc:
            code = exc.code or 0
        printed = capsys.readouterr()
        # The interpreter prints a text that a program exits with, and exits with 1.
        return (
            Done(1, printed.out, printed.err + code)
            if isinstance(code, str)
            else Done(code, printed.out, printed.err)
        )

    return run
