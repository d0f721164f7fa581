from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.deployment.apply_rule import data_plane
from tests.unit.cli.conftest import Command, RunningService

RECREATE = ("update", "v2", "--method", "recreate")
TORN_DOWN = "the data plane is torn down and built again: requests fail meanwhile"


def test_a_rolling_update_waits(command: Command, running: RunningService) -> None:
    result = command("update", "v2", "--method", "rolling")
    assert result.code == 0
    rule_id = running.service.plane.rule.rule_id
    assert result.out.splitlines()[-2:] == [
        f"revision 2 with rule {rule_id} is deployed",
        f"rule {rule_id} is in force",
    ]
    assert running.service.plane.rule.versions == {"stable": "v2"}


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
    assert running.control.revisions == []


class TestRecreate:
    def test_the_downtime_is_printed(self, command: Command, running: RunningService) -> None:
        result = command(*RECREATE)
        assert result.code == 0
        rule_id = running.service.plane.rule.rule_id
        assert result.out.splitlines()[1:] == [
            TORN_DOWN,
            f"revision 2 with rule {rule_id} is deployed",
            f"rule {rule_id} is in force",
            "v2 serves all users; downtime 8.4 s",
        ]

    def test_the_runtime_environment_is_deployed(
        self, command: Command, running: RunningService, tmp_path: Path
    ) -> None:
        file = tmp_path / "environment.yaml"
        file.write_text("pip: [onnxruntime==1.22.0]\n")
        result = command(*RECREATE, "--runtime-env", file)
        assert result.code == 0
        assert result.out.splitlines()[1:3] == [
            'animals.runtime_env.pip: unset → ["onnxruntime==1.22.0"], with new replicas',
            TORN_DOWN,
        ]
        deployed = data_plane(running.control.cluster.document)
        assert deployed["runtime_env"] == {"pip": ["onnxruntime==1.22.0"]}

    def test_a_runtime_environment_needs_recreate(
        self, command: Command, running: RunningService, tmp_path: Path
    ) -> None:
        result = command("update", "v2", "--method", "rolling", "--runtime-env", tmp_path / "none")
        assert result.code == 2
        assert "--runtime-env" in result.err
        assert running.control.revisions == []

    def test_an_invalid_runtime_environment_is_an_error(
        self, command: Command, running: RunningService, tmp_path: Path
    ) -> None:
        (tmp_path / "list.yaml").write_text("- numpy\n")
        result = command(*RECREATE, "--runtime-env", tmp_path / "list.yaml")
        assert (result.code, result.err) == (
            1,
            f"Error: {tmp_path}/list.yaml is not a mapping, but a list: expected Ray's runtime_env",
        )
        assert running.control.revisions == []

    def test_a_failed_recreation_is_an_error(
        self, command: Command, running: RunningService
    ) -> None:
        running.control.cluster.failures = [RuntimeError("no room")]
        result = command(*RECREATE)
        assert result.code == 1
        assert result.err.splitlines()[-1] == (
            "Error: the data plane could not be recreated: the old data plane could not be deleted"
            " (no room): the new one is deployed over it, without measuring the downtime"
        )
