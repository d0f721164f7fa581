"""The commands ask a real server in this process: both planes, over pools that are not Ray's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
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
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app import cli
from serve_app.cli import waiting
from serve_app.deployment import config
from serve_app.deployment.apply_rule import with_rule, with_version
from serve_app.domain import Pool
from serve_app.errors import BadConfig, NoSuchRevision, RejectedConfig
from serve_app.home import Home, open_home
from serve_app.http import control_plane
from serve_app.http.session import Authenticator
from serve_app.reports.service import ReportService
from serve_app.rules.parse import parse_rule
from serve_app.rules.rule import Rule
from serve_app.store.errors import BadExport
from tests.unit.reviews import Reviews
from tests.unit.service import Service

ROOT = Path(__file__).parents[3]


class FakeController:
    """Obeys a deployment at once, as Serve would in a while.

    Attributes:
        document: What runs.
        remembered: The revisions, oldest first; `deployed_by` has actor and reason of each.
        environments: The runtime environment of each recreation.
        unhealthy: Deployment to message.
        recreation: How far the last one is; `recreated` is what becomes of the next one.
        shadow: The tally.
        is_deaf: What is deployed takes no effect.
        reports: Who makes them.
        reviews: Who has the images.
    """

    def __init__(self, service: Service) -> None:
        self.document = config.read(ROOT / "deploy_configs/base.yaml")
        self.remembered: list[dict[str, Any]] = []
        self.environments: list[dict[str, Any] | None] = []
        self.unhealthy: dict[str, str] = {}
        self.recreation: dict[str, Any] | None = None
        self.recreated: dict[str, Any] = {"state": "done", "downtime_s": 8.43}
        self.shadow = {"copied": 0, "failed": 0, "shed": 0}
        self.dropped_pairs = 0
        self.is_deaf = False
        self.reports: ReportService | None = None
        self.reviews: Reviews | None = None
        self._service = service

    @property
    def deployed_by(self) -> list[tuple[str, str]]:
        return [(revision["actor"], revision["reason"]) for revision in self.remembered]

    async def status(self) -> dict[str, Any]:
        return {
            "applications": {
                name: {"status": "RUNNING", "message": "", "deployments": deployments}
                for name, deployments in {
                    "animals": {n: self._deployment(n) for n in ("Ingress", "StablePool")},
                    "control": {"ControlApi": self._deployment("ControlApi")},
                }.items()
            },
            "revision": len(self.remembered) or None,
            "epoch": {"number": 3},
            "recreation": self.recreation,
            "recording": {
                "stored": 12_345,
                "dropped": 0,
                "missing": 2,
                "shadow_pairs": sum(self.shadow.values()),
                "dropped_shadow_pairs": self.dropped_pairs,
                "shadow": self.shadow,
                "writers": [],
            },
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
        try:
            rule = config.check(document, self._known)
        except BadConfig as rejection:
            raise RejectedConfig(str(rejection)) from rejection
        self.remembered.append(
            {
                "number": len(self.remembered) + 1,
                "at_ms": 1_790_000_000_000,
                "actor": actor,
                "reason": reason,
                "document": document,
                "digest": "0" * 64,
            }
        )
        if not self.is_deaf:
            self.document = document
            self._apply_rule(rule, config.user_configs(document))
        return len(self.remembered)

    async def set_rule(self, content: dict[str, Any], actor: str, reason: str) -> dict[str, Any]:
        rule = parse_rule(content, self._known)
        document = with_rule(self.document, content, rule)
        return {
            "revision": await self.deploy(document, actor, reason),
            "rule_id": rule.rule_id,
            "warnings": rule.warnings(),
        }

    async def update(
        self,
        version: str,
        method: str,
        runtime_env: dict[str, Any] | None,
        actor: str,
        reason: str,
        key: str | None,
    ) -> int:
        try:
            content = with_version(self.document, version)
            rule = parse_rule(content, self._known)
        except BadConfig as rejection:
            raise RejectedConfig(str(rejection)) from rejection
        number = await self.deploy(with_rule(self.document, content, rule), actor, reason)
        if method == "recreate":
            self.environments.append(runtime_env)
            nothing = {"from_ms": None, "to_ms": None, "downtime_s": None, "message": ""}
            begun = {"version": version, "revision": number}
            self.recreation = nothing | begun | self.recreated
        return number

    async def restore(self, number: int, actor: str, reason: str, key: str | None) -> int:
        if number > len(self.remembered):
            raise NoSuchRevision(f"there is no revision {number}")
        return await self.deploy(self.remembered[number - 1]["document"], actor, reason)

    async def revisions(self, limit: int) -> list[dict[str, Any]]:
        return self.remembered[::-1][:limit]

    async def audit(self, limit: int) -> list[dict[str, Any]]:
        return [
            {
                "at_ms": revision["at_ms"],
                "actor": revision["actor"],
                "action": "deploy",
                "reason": revision["reason"],
                "details": {"revision": revision["number"]},
            }
            for revision in self.remembered[::-1][:limit]
        ]

    async def export(self, table: str, kind: str, since: str) -> Path:
        if table != "exposures":
            raise BadExport(f"there is no table {table}")
        number, name = tempfile.mkstemp()
        os.close(number)
        path = Path(name)
        path.write_text(f"{table} since {since}")
        return path

    async def report(
        self, name: str, since: str | None, region: str | None, experiment: str | None
    ) -> dict[str, Any]:
        assert self.reports
        return await asyncio.to_thread(self.reports.make, name, since, region, experiment)

    async def disagreements(self, limit: int, reviewed: bool) -> dict[str, Any]:
        assert self.reviews
        return await self.reviews.disagreements(limit, reviewed)

    async def disagreement(self, image_id: str) -> dict[str, Any]:
        assert self.reviews
        return await self.reviews.disagreement(image_id)

    async def image(self, image_id: str) -> bytes:
        assert self.reviews
        return await self.reviews.image(image_id)

    async def review(
        self, image_id: str, answer: str, actor: str, reason: str, key: str | None
    ) -> dict[str, Any]:
        assert self.reviews
        return await self.reviews.review(image_id, answer, actor, reason, key)

    @property
    def _known(self) -> tuple[str, ...]:
        return self._service.plane.versions.names()

    def _apply_rule(self, rule: Rule, configs: dict[str, Any]) -> None:
        plane, pools = self._service.plane, self._service.pools
        plane.apply_rule(rule)
        pools.assigned[Pool.STABLE] = configs[Pool.STABLE]["version"]
        pools.patched = None
        if candidate := rule.candidate_replicas:
            if candidate.pool is Pool.STABLE:
                pools.patched = candidate.version
            else:
                pools.assigned[candidate.pool] = candidate.version
            plane.breaker.ready = plane.breaker.is_closed = True


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


class Stage:
    """What the server serves; another application in each test."""

    application: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.application(scope, receive, send)


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[Stage, str]]:
    """A real one on a free port, and its URL; one for all tests, for it takes its time to end."""
    stage = Stage()
    server = uvicorn.Server(
        uvicorn.Config(
            stage, "127.0.0.1", 0, log_config=None, access_log=False, ws="none", lifespan="off"
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.005)
    (listening,) = server.servers
    yield stage, "http://{}:{}".format(*listening.sockets[0].getsockname())
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def serve(server: tuple[Stage, str], monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Serves an application where the commands look for it; returns its URL."""
    stage, url = server

    def start(app: ASGIApp) -> str:
        stage.application = app
        monkeypatch.setenv("SERVE_APP_URL", url)
        return url

    return start


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting takes no time, and ends soon."""
    for name in ("SETTLE_S", "REJECTED_S", "BEGUN_S"):
        monkeypatch.setattr(waiting, name, 0)
    monkeypatch.setattr(waiting, "POLL_S", 0.01)
    for name in ("WAIT_S", "RECREATED_S"):
        monkeypatch.setattr(waiting, name, 0.3)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path) as service:
        yield service


@pytest.fixture
def running(service: Service, home: Home, serve: Serve) -> Running:
    """Both planes, as behind Serve's proxy."""
    controller = FakeController(service)

    @contextlib.asynccontextmanager
    async def nothing_beside(_: FastAPI) -> AsyncIterator[None]:
        yield

    control = control_plane.application(
        controller, Authenticator(home.token), lambda _: None, nothing_beside
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
