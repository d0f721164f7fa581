from __future__ import annotations

import json
from typing import Any

import pytest

from serve_app.domain import Pool
from serve_app.errors import BadConfig
from serve_app.home import Home
from tests.unit.cli.conftest import Command, RunningService
from tests.unit.service import PARALLEL

RECREATION = {
    "state": "building",
    "version": "v2",
    "revision": 4,
    "from_ms": None,
    "to_ms": None,
    "downtime_s": None,
    "message": "",
}


def test_a_healthy_service(command: Command, running: RunningService) -> None:
    result = command("status")
    assert (result.code, result.err) == (0, "")
    first, second, _, head, *rows = result.out.splitlines()
    assert first.startswith(f"rule single {running.service.plane.rule.rule_id}: ")
    assert "stable v1" in first
    assert second == ("revision -, epoch 3; exposures: 12,345 stored, 0 dropped, 2 missing")
    assert head.split() == ["application", "deployment", "status", "replicas", "versions"]
    assert [row.split() for row in rows] == [
        ["animals", "Ingress", "healthy", "1", "running", "(of", "1)", "-"],
        ["animals", "StablePool", "healthy", "1", "running", "(of", "1)", "1", "v1"],
        ["control", "ControlApi", "healthy", "1", "running", "(of", "1)", "-"],
    ]


def test_a_rejected_rule_exits_1(command: Command, running: RunningService) -> None:
    running.service.plane.reject(BadConfig("rule.stable", "is v9: the registry has v1, v2"))
    result = command("status")
    assert result.code == 1
    assert result.err == "a rule was rejected: rule.stable is v9: the registry has v1, v2\n"
    assert "rule single" in result.out


def test_a_version_that_cannot_be_loaded_exits_1(command: Command, running: RunningService) -> None:
    running.service.pools.rejected = {"path": "version", "message": "v2 cannot be loaded"}
    result = command("status")
    assert (result.code, result.err) == (
        1,
        "StablePool rejected its configuration: version v2 cannot be loaded\n",
    )


def test_an_unhealthy_deployment_exits_1(command: Command, running: RunningService) -> None:
    running.controller.unhealthy["Ingress"] = "Traceback\nit crashed"
    result = command("status")
    assert (result.code, result.err) == (1, "deployment Ingress is UNHEALTHY: it crashed\n")


def test_a_replica_without_a_version_is_counted(command: Command, running: RunningService) -> None:
    running.service.pools.assigned[Pool.STABLE] = None
    assert "1 none" in command("status").out


def test_json_has_health_and_recording(command: Command, running: RunningService) -> None:
    shown = json.loads(command("status", "--json").out)
    assert (shown["healthy"], shown["troubles"]) == (True, [])
    assert shown["rule_id"] == running.service.plane.rule.rule_id
    assert shown["recording"]["stored"] == 12_345
    running.controller.unhealthy["Ingress"] = "it crashed"
    result = command("status", "--json")
    assert result.code == 1
    assert json.loads(result.out)["troubles"] == ["deployment Ingress is UNHEALTHY: it crashed"]


def test_json_has_all_keys_of_the_responses(command: Command, running: RunningService) -> None:
    running.controller.recreation = RECREATION
    shown = json.loads(command("status", "--json").out)
    assert shown["recreation"] == RECREATION
    assert shown["recording"]["shadow"] == {"copied": 0, "failed": 0, "shed": 0}
    assert {"candidate", "warnings", "effective_weight", "pools", "applications"} <= shown.keys()


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        ({}, "building"),
        ({"state": "done", "downtime_s": 8.43}, "done, downtime 8.4 s"),
        ({"state": "failed", "message": "no such [module]"}, "failed: no such [module]"),
    ],
)
def test_a_recreation_is_shown(
    command: Command, running: RunningService, progress: dict[str, Any], expected: str
) -> None:
    running.controller.recreation = RECREATION | progress
    result = command("status")
    assert result.code == 0
    assert result.out.splitlines()[2] == f"recreation of v2, revision 4: {expected}"


def test_without_a_data_plane_the_control_plane_is_shown(
    command: Command, running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example during a recreation."""
    monkeypatch.setattr(running.service.plane, "_rule", None)
    running.controller.recreation = RECREATION
    result = command("status")
    assert (result.code, result.err) == (1, "no rule is in force: deploy a valid one (HTTP 503)\n")
    first, second, *_ = result.out.splitlines()
    assert first.startswith("revision -, epoch 3; ")
    assert second == "recreation of v2, revision 4: building"
    shown = json.loads(command("status", "--json").out)
    assert (shown["healthy"], "rule" in shown) == (False, False)


def test_copy_outcomes_are_shown(command: Command, running: RunningService) -> None:
    running.controller.shadow_counts = {"copied": 1_204, "failed": 3, "shed": 10}
    assert command("status").out.splitlines()[2] == (
        "shadow: 1,204 copied, 3 failed, 10 shed, 0 dropped"
    )


def test_dropped_shadow_pairs_are_shown(command: Command, running: RunningService) -> None:
    running.controller.dropped_pairs = 2
    assert command("status").out.splitlines()[2].endswith(" 0 shed, 2 dropped")


def test_a_warning_is_healthy(command: Command, running: RunningService) -> None:
    running.service.apply_rule(**PARALLEL | {"weight": 0.4})
    result = command("status")
    assert (result.code, result.err) == (
        0,
        "Warning: the canary gets 0.4 of the units: at most 0.35 is recommended\n",
    )


def test_the_token_of_another_home_is_rejected(
    command: Command, running: RunningService, home: Home
) -> None:
    home.token_path.write_text("0" * 64)
    result = command("status")
    assert result.code == 1
    assert result.err.startswith(
        "Error: the token is missing or wrong: send 'Authorization: Bearer"
    )
    assert "(HTTP 401)" in result.err
