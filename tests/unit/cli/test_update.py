from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serve_app.cli import waiting
from serve_app.data_plane.pools import Replica
from serve_app.domain import Pool
from serve_app.errors import NotReady
from tests.unit.cli.conftest import Command, RunningService

RECREATE = ("update", "v2", "--method", "recreate")

pytestmark = pytest.mark.usefixtures("short_timeouts")


def test_a_rolling_update_waits(command: Command, running: RunningService) -> None:
    result = command("update", "v2", "--method", "rolling", "--reason", "koalas")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "revision 1 is deployed",
        f"rule {running.service.plane.rule.rule_id} is in force",
    ]
    assert running.service.plane.rule.versions == {"stable": "v2"}
    assert running.controller.actors_and_reasons[0][1] == "koalas"


def test_the_progress_of_an_update_is_printed(
    command: Command, running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter(["v1 v1 v1 v1", "v1 v2 v1 v1", "v1 v2 v1 v1", "v2 v2 v2 v1", "v2 v2 v2 v2"])

    async def replicas(_: Pool | None = None) -> list[Replica]:
        return [
            Replica(Pool.STABLE, f"{rank}", version, (version,), None, "onnx", {}, {})
            for rank, version in enumerate(next(states).split())
        ]

    monkeypatch.setattr(running.service.pools, "replicas", replicas)
    result = command("update", "v2", "--method", "rolling")
    assert result.code == 0
    assert result.err.splitlines() == [
        f"updating StablePool to v2 ({count} of 4 replicas ready)" for count in (0, 1, 3)
    ]


@pytest.mark.parametrize("method", ["rolling", "recreate"])
def test_the_default_reason_names_method_and_version(
    command: Command, running: RunningService, method: str
) -> None:
    assert command("update", "v2", "--method", method, "--no-wait").code == 0
    assert running.controller.actors_and_reasons[0][1] == f"{method} update to v2"


@pytest.mark.parametrize("method", ["rolling", "recreate"])
def test_an_unknown_version_is_rejected(
    command: Command, running: RunningService, method: str
) -> None:
    result = command("update", "v9", "--method", method)
    assert (result.code, result.err) == (
        1,
        "Error: rule.stable is v9: the registry has v1, v2 (HTTP 422)",
    )


@pytest.mark.parametrize("arguments", [("update", "v2"), ("update", "v2", "--method", "soon")])
def test_a_missing_or_unknown_method_is_a_usage_error(
    command: Command, running: RunningService, arguments: tuple[str, ...]
) -> None:
    result = command(*arguments)
    assert result.code == 2
    assert "--method" in result.err
    assert running.controller.actors_and_reasons == []


class TestRecreate:
    def test_the_downtime_is_printed(self, command: Command, running: RunningService) -> None:
        result = command(*RECREATE)
        assert (result.code, result.err) == (0, "")
        assert result.out.splitlines() == [
            "revision 1 is deployed; recreating the data plane",
            f"rule {running.service.plane.rule.rule_id} is in force",
            "v2 serves all users; downtime 8.4 s",
        ]

    def test_the_runtime_environment_is_sent(
        self, command: Command, running: RunningService, tmp_path: Path
    ) -> None:
        file = tmp_path / "environment.yaml"
        file.write_text("pip: [onnxruntime==1.22.0]\n")
        assert command(*RECREATE, "--runtime-env", file).code == 0
        assert command(*RECREATE).code == 0
        assert running.controller.environments == [{"pip": ["onnxruntime==1.22.0"]}, None]

    def test_a_runtime_environment_needs_recreate(
        self, command: Command, running: RunningService, tmp_path: Path
    ) -> None:
        result = command("update", "v2", "--method", "rolling", "--runtime-env", tmp_path / "none")
        assert result.code == 2
        assert "--runtime-env" in result.err
        assert running.controller.actors_and_reasons == []

    def test_an_invalid_runtime_environment_is_an_error(
        self, command: Command, running: RunningService, tmp_path: Path
    ) -> None:
        (tmp_path / "list.yaml").write_text("- numpy\n")
        result = command(*RECREATE, "--runtime-env", tmp_path / "list.yaml")
        assert (result.code, result.err) == (
            1,
            f"Error: {tmp_path}/list.yaml is not a mapping: expected Ray's runtime_env",
        )
        assert running.controller.actors_and_reasons == []

    def test_an_unreachable_service_is_waited_for(
        self, command: Command, running: RunningService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("IN_FORCE_TIMEOUT_S", "RECREATION_TIMEOUT_S", "RECREATION_START_TIMEOUT_S"):
            monkeypatch.setattr(waiting, name, 5)
        original = running.controller.status
        states = iter(["", "tearing down", "unreachable", "unreachable", "building", "building"])

        async def status() -> dict[str, Any]:
            state = next(states, "done")
            if state == "unreachable":
                raise NotReady("the Controller cannot be reached: try again in a second")
            response = await original()
            progress = response["recreation"] | {"state": state}
            return response | {"recreation": progress if state else None}

        monkeypatch.setattr(running.controller, "status", status)
        result = command(*RECREATE)
        assert result.code == 0
        assert result.err.splitlines() == ["tearing down the data plane", "building the data plane"]
        assert result.out.splitlines()[-1] == "v2 serves all users; downtime 8.4 s"

    def test_a_failed_recreation_is_an_error(
        self, command: Command, running: RunningService
    ) -> None:
        running.controller.next_recreation = {"state": "failed", "message": "no such module"}
        result = command(*RECREATE)
        assert (result.code, result.err) == (
            1,
            "Error: the data plane could not be recreated: no such module",
        )

    def test_a_recreation_times_out(self, command: Command, running: RunningService) -> None:
        running.controller.next_recreation = {"state": "building"}
        result = command(*RECREATE)
        assert result.code == 1
        assert result.err.splitlines() == [
            "building the data plane",
            "Error: not recreated after 0.3 s; see serve-app status",
        ]

    @pytest.mark.parametrize(
        "recreated", [None, {"state": "done", "downtime_s": 1.0, "revision": 9}]
    )
    def test_a_new_controller_does_not_know_the_downtime(
        self,
        command: Command,
        running: RunningService,
        monkeypatch: pytest.MonkeyPatch,
        recreated: dict[str, Any] | None,
    ) -> None:
        """A new Controller builds the data plane without a measurement of the downtime."""
        original = running.controller.status

        async def status() -> dict[str, Any]:
            return await original() | {"recreation": recreated}

        monkeypatch.setattr(running.controller, "status", status)
        result = command(*RECREATE)
        assert result.code == 0
        assert result.out.splitlines()[-1] == (
            "v2 serves all users; downtime unknown: the Controller was restarted"
        )

    def test_no_wait_returns_at_once(self, command: Command, running: RunningService) -> None:
        running.controller.next_recreation = {"state": "failed", "message": "no such module"}
        result = command(*RECREATE, "--no-wait")
        assert (result.code, result.out) == (
            0,
            "revision 1 is deployed; recreating the data plane\n",
        )
