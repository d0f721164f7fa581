"""Commands call a real server in this process: both planes, with fake pools."""

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
from serve_app.deployment.apply_rule import single_rule, with_rule
from serve_app.domain import Pool
from serve_app.errors import BadConfig, NoSuchRevision, RejectedConfig
from serve_app.home import Home, open_home
from serve_app.http import control_plane
from serve_app.http.session import Authenticator
from serve_app.reports.service import ReportService
from serve_app.rules.parse import parse_rule
from serve_app.rules.rule import Rule
from serve_app.store.errors import BadExport
from tests.unit.reviews import LocalReviews
from tests.unit.service import Service

ROOT = Path(__file__).parents[3]


class FakeController:
    """A Controller that applies a deployment at once.

    Attributes:
        document: The deployed document.
        revision_log: The revisions, oldest first.
        environments: The runtime environment of each recreation.
        unhealthy: The message of each unhealthy deployment, by name.
        recreation: The state of the last recreation.
        next_recreation: The state that the next recreation gets.
        shadow_counts: The number of copies by outcome.
        ignores_deployments: Whether deployed documents take no effect.
    """

    def __init__(self, service: Service) -> None:
        self.document = config.read(ROOT / "deploy_configs/base.yaml")
        self.revision_log: list[dict[str, Any]] = []
        self.environments: list[dict[str, Any] | None] = []
        self.unhealthy: dict[str, str] = {}
        self.recreation: dict[str, Any] | None = None
        self.next_recreation: dict[str, Any] = {"state": "done", "downtime_s": 8.43}
        self.shadow_counts = {"copied": 0, "failed": 0, "shed": 0}
        self.dropped_pairs = 0
        self.ignores_deployments = False
        self.reports: ReportService | None = None
        self.reviews: LocalReviews | None = None
        self._service = service

    @property
    def actors_and_reasons(self) -> list[tuple[str, str]]:
        return [(revision["actor"], revision["reason"]) for revision in self.revision_log]

    async def status(self) -> dict[str, Any]:
        return {
            "applications": {
                name: {"status": "RUNNING", "message": "", "deployments": deployments}
                for name, deployments in {
                    "animals": {n: self._deployment(n) for n in ("Ingress", "StablePool")},
                    "control": {"ControlApi": self._deployment("ControlApi")},
                }.items()
            },
            "revision": len(self.revision_log) or None,
            "epoch": {"number": 3},
            "recreation": self.recreation,
            "recording": {
                "stored": 12_345,
                "dropped": 0,
                "missing": 2,
                "shadow_pairs": sum(self.shadow_counts.values()),
                "dropped_shadow_pairs": self.dropped_pairs,
                "shadow": self.shadow_counts,
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

    async def deployment(self) -> dict[str, Any]:
        return deepcopy(self.document)

    async def deploy(self, document: dict[str, Any], actor: str, reason: str) -> int:
        try:
            rule = config.check(document, self._known)
        except BadConfig as rejection:
            raise RejectedConfig(str(rejection)) from rejection
        self.revision_log.append(
            {
                "number": len(self.revision_log) + 1,
                "at_ms": 1_790_000_000_000,
                "actor": actor,
                "reason": reason,
                "document": document,
                "digest": "0" * 64,
            }
        )
        if not self.ignores_deployments:
            self.document = document
            self._apply_rule(rule, config.user_configs(document))
        return len(self.revision_log)

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
            content = single_rule(self.document, version)
            rule = parse_rule(content, self._known)
        except BadConfig as rejection:
            raise RejectedConfig(str(rejection)) from rejection
        number = await self.deploy(with_rule(self.document, content, rule), actor, reason)
        if method == "recreate":
            self.environments.append(runtime_env)
            empty = {"from_ms": None, "to_ms": None, "downtime_s": None, "message": ""}
            identity = {"version": version, "revision": number}
            self.recreation = empty | identity | self.next_recreation
        return number

    async def restore(self, number: int, actor: str, reason: str, key: str | None) -> int:
        if number > len(self.revision_log):
            raise NoSuchRevision(f"there is no revision {number}")
        return await self.deploy(self.revision_log[number - 1]["document"], actor, reason)

    async def revisions(self, limit: int) -> list[dict[str, Any]]:
        return self.revision_log[::-1][:limit]

    async def audit(self, limit: int) -> list[dict[str, Any]]:
        return [
            {
                "at_ms": revision["at_ms"],
                "actor": revision["actor"],
                "action": "deploy",
                "reason": revision["reason"],
                "details": {"revision": revision["number"]},
            }
            for revision in self.revision_log[::-1][:limit]
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

    async def list_images(self, limit: int, reviewed: bool) -> dict[str, Any]:
        assert self.reviews
        return await self.reviews.list_images(limit, reviewed)

    async def find_image(self, image_id: str) -> dict[str, Any]:
        assert self.reviews
        return await self.reviews.find_image(image_id)

    async def image_content(self, image_id: str) -> bytes:
        assert self.reviews
        return await self.reviews.image_content(image_id)

    async def add_review(
        self, image_id: str, answer: str, actor: str, reason: str, key: str | None
    ) -> dict[str, Any]:
        assert self.reviews
        return await self.reviews.add_review(image_id, answer, actor, reason, key)

    @property
    def _known(self) -> tuple[str, ...]:
        return self._service.plane.versions.names()

    def _apply_rule(self, rule: Rule, configs: dict[str, Any]) -> None:
        plane, pools = self._service.plane, self._service.pools
        plane.apply_rule(rule)
        pools.assigned[Pool.STABLE] = configs[Pool.STABLE]["version"]
        pools.patched_version = None
        if candidate := rule.candidate_replicas:
            if candidate.pool is Pool.STABLE:
                pools.patched_version = candidate.version
            else:
                pools.assigned[candidate.pool] = candidate.version
            plane.breaker.ready = plane.breaker.is_closed = True


@dataclass(frozen=True)
class RunningService:
    """A running service and its URL."""

    url: str
    service: Service
    controller: FakeController


@dataclass(frozen=True)
class CommandResult:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., CommandResult]
Serve = Callable[[ASGIApp], str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("SERVE_APP_HOME", str(tmp_path / "home"))
    return open_home()


class SwitchableApp:
    """Serves another application in each test."""

    application: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.application(scope, receive, send)


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[SwitchableApp, str]]:
    """A server on a free port, and its URL; shared by all tests, because it stops slowly."""
    switchable = SwitchableApp()
    server = uvicorn.Server(
        uvicorn.Config(
            switchable, "127.0.0.1", 0, log_config=None, access_log=False, ws="none", lifespan="off"
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.005)
    (listening,) = server.servers
    yield switchable, "http://{}:{}".format(*listening.sockets[0].getsockname())
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def serve(server: tuple[SwitchableApp, str], monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Serves an application at SERVE_APP_URL; returns its URL."""
    switchable, url = server

    def start(app: ASGIApp) -> str:
        switchable.application = app
        monkeypatch.setenv("SERVE_APP_URL", url)
        return url

    return start


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands wait without delay and time out soon."""
    for name in ("SETTLE_S", "STALE_REJECTION_S", "RECREATION_START_TIMEOUT_S"):
        monkeypatch.setattr(waiting, name, 0)
    monkeypatch.setattr(waiting, "POLL_S", 0.01)
    for name in ("IN_FORCE_TIMEOUT_S", "RECREATION_TIMEOUT_S"):
        monkeypatch.setattr(waiting, name, 0.3)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path) as service:
        yield service


@pytest.fixture
def running(service: Service, home: Home, serve: Serve) -> RunningService:
    """Both planes under one URL, as behind Serve's proxy."""
    controller = FakeController(service)

    @contextlib.asynccontextmanager
    async def no_lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    control = control_plane.application(
        controller, Authenticator(home.token), lambda _: None, no_lifespan
    )
    app = Starlette(routes=[Mount("/control", control), Mount("/", service.app)])
    return RunningService(serve(app), service, controller)


@pytest.fixture
def command(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs `serve-app` with arguments, like its console script."""

    def run(*arguments: str | Path) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["serve-app", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            code: Any = 0
        except SystemExit as exc:
            code = exc.code or 0
        printed = capsys.readouterr()
        # On `sys.exit(text)` the interpreter prints the text and exits with 1.
        return (
            CommandResult(1, printed.out, printed.err + code)
            if isinstance(code, str)
            else CommandResult(code, printed.out, printed.err)
        )

    return run
