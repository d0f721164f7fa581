"""A control plane over a fake cluster and a real store, without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serve_app.control_plane import plane as plane_module
from serve_app.control_plane import recreation as recreation_module
from serve_app.control_plane.plane import ControlPlane
from serve_app.deployment import config
from serve_app.deployment.experiments import Experiments
from serve_app.errors import NotReady
from serve_app.store.errors import StoreError
from serve_app.store.recreations import Recreation
from serve_app.store.store import Store, open_store
from tests.fake_cluster import FakeCluster

ROOT = Path(__file__).parents[3]


def shipped(name: str) -> dict[str, Any]:
    """A shipped deployment file."""
    return config.read(ROOT / f"deploy_configs/{name}.yaml")


class Killed(BaseException):
    """The process was killed."""


class Steps:
    """Counts the steps of a process, and interrupts one of them.

    A step is the moment before or after an effect on the cluster or the store.

    Attributes:
        count: The steps so far.
        kill_at: The step from which on every step raises `Killed`; None for never.
        fail_at: The step that raises an error of the store or the cluster; None for never.
    """

    def __init__(self, kill_at: int | None = None, fail_at: int | None = None) -> None:
        self.kill_at, self.fail_at = kill_at, fail_at
        self.count = 0

    def step(self, failure: Exception) -> None:
        self.count += 1
        if self.kill_at is not None and self.count >= self.kill_at:
            raise Killed
        if self.count == self.fail_at:
            raise failure


class SteppedCluster(FakeCluster):
    """A fake cluster with a step before and after each deployment."""

    steps = Steps()

    async def deploy(self, document: dict[str, Any]) -> None:
        self.steps.step(NotReady("Serve cannot be reached"))
        await super().deploy(document)
        self.steps.step(NotReady("Serve cannot be reached"))


class SteppedPlane(ControlPlane):
    """A control plane with a step before and after each write to the store."""

    def __init__(self, machine: Machine, steps: Steps) -> None:
        self._steps = machine.cluster.steps = steps
        super().__init__(machine.cluster, machine.store, machine.experiments, FakeProbe)

    async def write(self, function: Callable[..., Any], *args: Any) -> Any:
        self._steps.step(StoreError("the disk is full"))
        result = await super().write(function, *args)
        if function.__name__ not in READS:  # a read has no effect that could be half done
            self._steps.step(StoreError("the disk is full"))
        return result


READS = ("revision", "revisions", "latest_recreation")


class FakeProbe:
    """A probe that measures a downtime of 8.43 s at once."""

    down_from_ms, down_to_ms, is_back = 1_000, 9_430, True
    refused_requests: int | None = 120

    def __init__(self, url: str, recreation: Recreation) -> None:
        self.url = url

    async def run(self) -> None:
        await asyncio.Event().wait()


class NeverBack:
    """A probe of a service that stays down."""

    down_from_ms, down_to_ms, is_back = 1_000, None, False
    refused_requests: int | None = None

    def __init__(self, *_: Any) -> None: ...

    async def run(self) -> None:
        await asyncio.Event().wait()


class Machine:
    """What survives a process of the control plane: the cluster, the store and the home."""

    def __init__(self, folder: Path) -> None:
        self.cluster = SteppedCluster(shipped("base"))
        self.store: Store = open_store(f"sqlite:///{folder / 'store.db'}")
        (folder / "experiments").mkdir()
        self.experiments = Experiments(folder / "experiments")

    def start(self, steps: Steps | None = None) -> SteppedPlane:
        """A new process of the control plane."""
        return SteppedPlane(self, steps or Steps())

    def run(self, scenario: Callable[[SteppedPlane], Awaitable[Any]]) -> Any:
        """Run a scenario with a new process; its result."""

        async def run() -> Any:
            plane = self.start()
            await plane.recover()
            await plane.record_outside_change()
            return await scenario(plane)

        return asyncio.run(run())

    @property
    def audit(self) -> list[tuple[str, str, str]]:
        """Action, actor and reason, oldest first."""
        entries = self.store.audit(100)[::-1]
        return [(entry.action, entry.actor, entry.reason) for entry in entries]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr(plane_module, "SETTLE_S", 0)
    monkeypatch.setattr(recreation_module, "POLL_S", 0)
    monkeypatch.setattr(recreation_module, "RETRY_S", 0)
    machine = Machine(tmp_path)
    yield machine
    machine.store.close()
