from __future__ import annotations

import json
from typing import Any

import pytest

from serve_app.deployment.names import INGRESS
from serve_app.home import Home
from serve_app.rules.plan import Pool
from serve_app.store.recreations import Phase, Recreation
from tests.factories import adoption, batch, exposure, pair
from tests.unit.cli.conftest import Command, RunningService
from tests.unit.service import PARALLEL


def recreation(phase: Phase, **changes: Any) -> Recreation:
    return Recreation(1, "v2", phase, started_at_ms=0, **changes)


def test_a_healthy_service(command: Command, running: RunningService) -> None:
    running.control.store.record(
        batch(adoption("a", 0), exposure(1), exposure(2), last_sequence=1234, dropped=1000)
    )
    result = command("status")
    assert (result.code, result.err) == (0, "")
    first, second, third, _, head, *rows = result.out.splitlines()
    assert first.startswith(f"rule single {running.service.plane.rule.rule_id}: ")
    assert "stable v1" in first
    assert second == "revision 1 is in force"
    assert third == "epoch 1; exposures: 2 stored, 1,000 dropped, 1,232 missing"
    assert head.split() == ["application", "deployment", "status", "replicas", "versions"]
    assert [row.split() for row in rows] == [
        ["animals", "Ingress", "healthy", "1", "running", "(of", "1)", "-"],
        ["animals", "StablePool", "healthy", "1", "running", "(of", "1)", "1", "v1"],
        ["animals", "CandidatePool", "healthy", "none", "(of", "0)", "-"],
        ["control", "Controller", "healthy", "1", "running", "(of", "1)", "-"],
        ["control", "ControlApi", "healthy", "1", "running", "(of", "1)", "-"],
    ]


def test_a_change_that_is_under_way_is_healthy(command: Command, running: RunningService) -> None:
    running.control.cluster.is_frozen = True
    command("update", "v2", "--method", "rolling", "--no-wait")
    result = command("status")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[1] == (
        "revision 2 is not in force yet: updating StablePool to v2 (0 of 1 replicas ready);"
        " 0 of 1 ingresses have rule 9d40526c"
    )


@pytest.mark.parametrize(
    ("name", "rejected", "trouble"),
    [
        (
            INGRESS,
            {"path": "rule.stable", "message": "is v9: the registry has v1, v2"},
            "a rule was rejected: rule.stable is v9: the registry has v1, v2",
        ),
        (
            Pool.STABLE,
            {"path": "version", "message": "v2 cannot be loaded"},
            "StablePool rejected its configuration: version v2 cannot be loaded",
        ),
    ],
)
def test_a_rejected_configuration_exits_1(
    command: Command,
    running: RunningService,
    name: str,
    rejected: dict[str, str],
    trouble: str,
) -> None:
    running.control.cluster.rejected[name] = rejected
    result = command("status")
    assert (result.code, result.err) == (1, f"{trouble}\n")
    assert result.out.splitlines()[1] == "revision 1 is not in force"


def test_an_unhealthy_deployment_exits_1(command: Command, running: RunningService) -> None:
    running.control.cluster.statuses[INGRESS] = "UNHEALTHY"
    running.control.cluster.messages[INGRESS] = "Traceback\nit crashed"
    trouble = "deployment Ingress is UNHEALTHY: it crashed"
    result = command("status")
    assert (result.code, result.err) == (1, f"{trouble}\n")
    result = command("status", "--json")
    shown = json.loads(result.out)
    assert (result.code, shown["healthy"], shown["troubles"]) == (1, False, [trouble])


def test_a_replica_without_a_version_is_counted(command: Command, running: RunningService) -> None:
    running.service.pools.assigned[Pool.STABLE] = None
    assert "1 none" in command("status").out


def test_json_has_all_keys_of_the_responses(command: Command, running: RunningService) -> None:
    shown = json.loads(command("status", "--json").out)
    assert (shown["healthy"], shown["troubles"], shown["in_force"]) == (True, [], True)
    assert shown["rule_id"] == running.service.plane.rule.rule_id
    assert shown["recording"]["shadow"] == {"copied": 0, "failed": 0, "shed": 0}
    assert {"candidate", "warnings", "effective_weight", "pools", "applications"} <= shown.keys()


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (recreation(Phase.TEARING_DOWN), "tearing down"),
        (
            recreation(Phase.DONE, down_from_ms=1_000, down_to_ms=9_430),
            "done, downtime 8.4 s",
        ),
        (
            recreation(Phase.DONE, down_from_ms=0, down_to_ms=8_920, is_upper_bound=True),
            "done, downtime at most 8.9 s, because the Controller was restarted meanwhile",
        ),
        (recreation(Phase.FAILED, message="no such [module]"), "failed: no such [module]"),
    ],
    ids=lambda value: value.phase if isinstance(value, Recreation) else "",
)
def test_a_recreation_is_shown(
    command: Command, running: RunningService, present: Recreation, expected: str
) -> None:
    running.control.plane._recreator.present = present
    result = command("status")
    assert result.code == 0
    assert result.out.splitlines()[3] == f"recreation of v2, revision 1: {expected}"


def test_without_a_data_plane_the_control_plane_is_shown(
    command: Command, running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example during a recreation."""
    monkeypatch.setattr(running.service.plane, "_rule", None)
    result = command("status")
    assert (result.code, result.err) == (1, "no rule is in force: deploy a valid one (HTTP 503)\n")
    assert result.out.splitlines()[0] == "revision 1 is in force"
    shown = json.loads(command("status", "--json").out)
    assert (shown["healthy"], "rule" in shown) == (False, False)


def test_copy_outcomes_are_shown(command: Command, running: RunningService) -> None:
    outcomes = ("copied", "copied", "failed")
    pairs = [pair(number, outcome=outcome) for number, outcome in enumerate(outcomes, 1)]
    running.control.store.record(batch(adoption("a", 0), *pairs, dropped_pairs=1_204))
    assert command("status").out.splitlines()[3] == (
        "shadow: 2 copied, 1 failed, 0 shed, 1,204 dropped"
    )


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
        f"Error: {running.url} does not accept the token of this home directory: set SERVE_APP_HOME"
    )
