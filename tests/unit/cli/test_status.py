from __future__ import annotations

import json

from serve_app.domain import Pool
from serve_app.errors import BadConfig
from serve_app.home import Home
from tests.unit.cli.conftest import Command, Running


def test_a_healthy_service_is_shown(command: Command, running: Running) -> None:
    done = command("status")
    assert (done.code, done.err) == (0, "")
    first, second, _, head, *rows = done.out.splitlines()
    assert first.startswith(f"rule single {running.service.plane.rule.rule_id}: ")
    assert "stable v1" in first
    assert second == ("revision -, epoch 3; exposures: 12,345 stored, 0 dropped, 2 missing")
    assert head.split() == ["application", "deployment", "status", "replicas", "versions"]
    assert [row.split() for row in rows] == [
        ["animals", "Ingress", "healthy", "1", "running", "(of", "1)", "-"],
        ["animals", "StablePool", "healthy", "1", "running", "(of", "1)", "1", "v1"],
        ["control", "Console", "healthy", "1", "running", "(of", "1)", "-"],
    ]


def test_a_refused_rule_is_told_with_exit_1(command: Command, running: Running) -> None:
    running.service.plane.refuse(BadConfig("rule.stable", "is v9: the registry has v1, v2"))
    done = command("status")
    assert done.code == 1
    assert done.err == "a rule was refused: rule.stable is v9: the registry has v1, v2\n"
    assert "rule single" in done.out


def test_a_version_that_cannot_be_loaded_is_told_with_exit_1(
    command: Command, running: Running
) -> None:
    running.service.pools.rejected = {"path": "version", "message": "v2 cannot be loaded"}
    done = command("status")
    assert (done.code, done.err) == (
        1,
        "StablePool refused its configuration: version v2 cannot be loaded\n",
    )


def test_an_unhealthy_deployment_is_told_with_exit_1(command: Command, running: Running) -> None:
    running.controller.unhealthy["Ingress"] = "Traceback\nit crashed"
    done = command("status")
    assert (done.code, done.err) == (1, "deployment Ingress is UNHEALTHY: it crashed\n")


def test_a_replica_without_a_version_shows(command: Command, running: Running) -> None:
    running.service.pools.assigned[Pool.STABLE] = None
    assert "1 none" in command("status").out


def test_as_json_everything_is_printed(command: Command, running: Running) -> None:
    shown = json.loads(command("status", "--json").out)
    assert (shown["healthy"], shown["troubles"]) == (True, [])
    assert shown["rule_id"] == running.service.plane.rule.rule_id
    assert shown["recording"]["stored"] == 12_345
    running.controller.unhealthy["Ingress"] = "it crashed"
    done = command("status", "--json")
    assert done.code == 1
    assert json.loads(done.out)["troubles"] == ["deployment Ingress is UNHEALTHY: it crashed"]


def test_the_token_of_another_home_is_refused(
    command: Command, running: Running, home: Home
) -> None:
    home.token_path.write_text("0" * 64)
    done = command("status")
    assert done.code == 1
    assert done.err.startswith("Error: send 'Authorization: Bearer TOKEN'")
    assert "(HTTP 401)" in done.err
