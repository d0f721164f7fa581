from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serve_app.cli import waiting
from serve_app.data_plane.pools import Replica
from serve_app.domain import Pool
from serve_app.errors import NotReady
from tests.unit.cli.conftest import Command, Running

RECREATE = ("update", "v2", "--method", "recreate")

pytestmark = pytest.mark.usefixtures("hurried")


def test_a_rolling_update_is_waited_for(command: Command, running: Running) -> None:
    done = command("update", "v2", "--method", "rolling", "--reason", "koalas")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "revision 1 is deployed",
        f"rule {running.service.plane.rule.rule_id} is in force",
    ]
    assert running.service.plane.rule.versions == {"stable": "v2"}
    assert running.controller.deployed_by[0][1] == "koalas"


def test_its_progress_is_told(
    command: Command, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(["v1 v1 v1 v1", "v1 v2 v1 v1", "v1 v2 v1 v1", "v2 v2 v2 v1", "v2 v2 v2 v2"])

    async def replicas(_: Pool | None = None) -> list[Replica]:
        return [
            Replica(Pool.STABLE, f"{rank}", version, (version,), None, "onnx", {}, {})
            for rank, version in enumerate(next(steps).split())
        ]

    monkeypatch.setattr(running.service.pools, "replicas", replicas)
    done = command("update", "v2", "--method", "rolling")
    assert done.code == 0
    assert done.err.splitlines() == [
        f"StablePool: {count} of 4 replicas hold v2" for count in (0, 1, 3)
    ]


@pytest.mark.parametrize("method", ["rolling", "recreate"])
def test_why_is_said_in_any_case(command: Command, running: Running, method: str) -> None:
    assert command("update", "v2", "--method", method, "--no-wait").code == 0
    assert running.controller.deployed_by[0][1] == f"{method} update to v2"


@pytest.mark.parametrize("method", ["rolling", "recreate"])
def test_a_version_that_does_not_exist_is_rejected(
    command: Command, running: Running, method: str
) -> None:
    done = command("update", "v9", "--method", method)
    assert (done.code, done.err) == (
        1,
        "Error: rule.stable is v9: the registry has v1, v2 (HTTP 422)",
    )


@pytest.mark.parametrize("arguments", [("update", "v2"), ("update", "v2", "--method", "soon")])
def test_without_a_method_it_is_a_usage_error(
    command: Command, running: Running, arguments: tuple[str, ...]
) -> None:
    done = command(*arguments)
    assert done.code == 2
    assert "--method" in done.err
    assert running.controller.deployed_by == []


class TestRecreate:
    def test_the_gap_is_told(self, command: Command, running: Running) -> None:
        done = command(*RECREATE)
        assert (done.code, done.err) == (0, "")
        assert done.out.splitlines() == [
            "revision 1 is being built",
            f"rule {running.service.plane.rule.rule_id} is in force",
            "v2 serves; nobody was answered for 8.4 s",
        ]

    def test_a_runtime_environment_goes_along(
        self, command: Command, running: Running, tmp_path: Path
    ) -> None:
        file = tmp_path / "environment.yaml"
        file.write_text("pip: [onnxruntime==1.22.0]\n")
        assert command(*RECREATE, "--runtime-env", file).code == 0
        assert command(*RECREATE).code == 0
        assert running.controller.environments == [{"pip": ["onnxruntime==1.22.0"]}, None]

    def test_it_takes_new_processes(
        self, command: Command, running: Running, tmp_path: Path
    ) -> None:
        done = command("update", "v2", "--method", "rolling", "--runtime-env", tmp_path / "none")
        assert done.code == 2
        assert "--runtime-env" in done.err
        assert running.controller.deployed_by == []

    def test_what_is_no_environment_is_told(
        self, command: Command, running: Running, tmp_path: Path
    ) -> None:
        (tmp_path / "list.yaml").write_text("- numpy\n")
        done = command(*RECREATE, "--runtime-env", tmp_path / "list.yaml")
        assert (done.code, done.err) == (
            1,
            f"Error: {tmp_path}/list.yaml holds no mapping: expected Ray's runtime_env",
        )
        assert running.controller.deployed_by == []

    def test_a_service_that_is_away_meanwhile_is_waited_for(
        self, command: Command, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("WAIT_S", "RECREATED_S", "BEGUN_S"):
            monkeypatch.setattr(waiting, name, 5)
        shown = running.controller.status
        states = iter(["", "tearing down", "away", "away", "building", "building"])

        async def status() -> dict[str, Any]:
            state = next(states, "done")
            if state == "away":
                raise NotReady("the Controller cannot be reached: try again in a second")
            answer = await shown()
            progress = answer["recreation"] | {"state": state}
            return answer | {"recreation": progress if state else None}

        monkeypatch.setattr(running.controller, "status", status)
        done = command(*RECREATE)
        assert done.code == 0
        assert done.err.splitlines() == ["tearing down the data plane", "building the data plane"]
        assert done.out.splitlines()[-1] == "v2 serves; nobody was answered for 8.4 s"

    def test_a_failure_is_told_with_its_reason(self, command: Command, running: Running) -> None:
        running.controller.recreated = {"state": "failed", "message": "no such module"}
        done = command(*RECREATE)
        assert (done.code, done.err) == (
            1,
            "Error: the data plane could not be recreated: no such module",
        )

    def test_what_does_not_end_in_time_is_told(self, command: Command, running: Running) -> None:
        running.controller.recreated = {"state": "building"}
        done = command(*RECREATE)
        assert done.code == 1
        assert done.err.splitlines() == [
            "building the data plane",
            "Error: not recreated after 0.3 s; see serve-app status",
        ]

    @pytest.mark.parametrize(
        "recreated", [None, {"state": "done", "downtime_s": 1.0, "revision": 9}]
    )
    def test_another_controller_knows_no_gap(
        self,
        command: Command,
        running: Running,
        monkeypatch: pytest.MonkeyPatch,
        recreated: dict[str, Any] | None,
    ) -> None:
        """One that was born meanwhile builds the data plane, and has not measured."""
        shown = running.controller.status

        async def status() -> dict[str, Any]:
            return await shown() | {"recreation": recreated}

        monkeypatch.setattr(running.controller, "status", status)
        done = command(*RECREATE)
        assert done.code == 0
        assert done.out.splitlines()[-1] == (
            "v2 serves; how long nobody was answered is not known: another Controller took over"
        )

    def test_without_waiting_nothing_is_asked_afterwards(
        self, command: Command, running: Running
    ) -> None:
        running.controller.recreated = {"state": "failed", "message": "no such module"}
        done = command(*RECREATE, "--no-wait")
        assert (done.code, done.out) == (0, "revision 1 is being built\n")
