"""Commands call a real server in this process: both planes, with fake pools."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app import cli
from serve_app.cli import waiting
from serve_app.control_plane import plane, recreation
from serve_app.control_plane.plane import ControlPlane
from serve_app.control_plane.reads import Reads
from serve_app.control_plane.start import record_start
from serve_app.deployment import config
from serve_app.deployment.experiments import Experiments
from serve_app.deployment.names import INGRESS
from serve_app.home import Home, open_home
from serve_app.http.control.application import application
from serve_app.http.control.authentication import Authenticator
from serve_app.http.control.sessions import Role, Sessions
from serve_app.rules.parse import read_rule
from serve_app.rules.plan import Pool
from serve_app.store.revisions import Revision
from serve_app.store.store import open_store
from tests.fake_cluster import FakeCluster
from tests.unit.control_plane.conftest import FakeProbe
from tests.unit.service import Service
from tests.web import served

ROOT = Path(__file__).parents[3]
BASE = ROOT / "deploy_configs/base.yaml"


class LocalService:
    """The control plane over a fake cluster, which applies configurations to the data plane.

    Attributes:
        cluster: The fake cluster.
        plane: The control plane; its first revision is the start with `base.yaml`.
        store: Its store.
    """

    def __init__(self, service: Service, home: Home, first_store: Path) -> None:
        self._service = service
        self.cluster = FakeCluster(config.read(BASE), self._apply_document)
        shutil.copy(first_store, home.database_url.removeprefix("sqlite:///"))
        self.store = open_store(home.database_url)
        experiments = Experiments(home.folder("experiments"))
        self.plane = ControlPlane(self.cluster, self.store, experiments, FakeProbe)
        asyncio.run(self.plane.recover())

    @property
    def revisions(self) -> list[Revision]:
        """The revisions after the start, oldest first."""
        return self.store.revisions(100)[-2::-1]

    @property
    def actors_and_reasons(self) -> list[tuple[str, str]]:
        return [(revision.actor, revision.reason) for revision in self.revisions]

    def _apply_document(self, document: dict[str, Any]) -> None:
        configs = config.user_configs(document)
        if not configs:
            return
        rule = read_rule(configs[INGRESS]["rule"])
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
    control: LocalService


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
    with served(switchable) as url:
        yield switchable, url


@pytest.fixture
def serve(server: tuple[SwitchableApp, str], monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Serves an application at SERVE_APP_URL; returns its URL."""
    switchable, url = server

    def start(app: ASGIApp) -> str:
        switchable.application = app
        monkeypatch.setenv("SERVE_APP_URL", url)
        return url

    return start


@pytest.fixture(autouse=True)
def _no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plane, "SETTLE_S", 0)
    monkeypatch.setattr(recreation, "POLL_S", 0.001)
    monkeypatch.setattr(waiting, "POLL_S", 0.01)


@pytest.fixture
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands do not wait for a change that is not in force at once, or soon for a recreation."""
    monkeypatch.setattr(waiting, "IN_FORCE_TIMEOUT_S", 0)
    monkeypatch.setattr(waiting, "RECREATION_TIMEOUT_S", 5)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path) as service:
        yield service


@pytest.fixture(scope="session")
def first_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store whose only revision is the start with `base.yaml`."""
    path = tmp_path_factory.mktemp("store") / "store.db"
    store = open_store(f"sqlite:///{path}")
    record_start(store, config.read(BASE), "root", "up base.yaml")
    store.close()
    return path


@pytest.fixture
def running(
    service: Service, home: Home, serve: Serve, first_store: Path
) -> Iterator[RunningService]:
    """Both planes under one URL, as behind Serve's proxy."""
    control = LocalService(service, home, first_store)

    @contextlib.asynccontextmanager
    async def no_lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    authenticator = Authenticator(
        {Role.OPERATOR: home.token}, Sessions(home.folder("sessions"), b"key")
    )
    http = application(control.plane, Reads(home), authenticator, lambda _: None, no_lifespan)
    app = Starlette(routes=[Mount("/control", http), Mount("/", service.app)])
    yield RunningService(serve(app), service, control)
    control.store.close()


def interrupt_first_request(running: RunningService) -> None:
    """Let the first request for a prediction send this process one SIGINT."""
    classify, interrupts = running.service.pools.classify, [signal.SIGINT]

    async def interrupt_and_classify(*arguments: Any) -> Any:
        if interrupts:
            signal.raise_signal(interrupts.pop())
        return await classify(*arguments)

    running.service.pools.classify = interrupt_and_classify  # type: ignore[method-assign, assignment]


@pytest.fixture(autouse=True)
def no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines have any length, also where the runner of the tests sets a width."""
    monkeypatch.delenv("COLUMNS", raising=False)


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
