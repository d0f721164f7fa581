from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.cli.waiting import desired_state
from serve_app.deployment import config
from serve_app.errors import BadConfig
from tests.unit.cli.conftest import ROOT, Command, RunningService

BASE = ROOT / "deploy_configs/base.yaml"
pytestmark = pytest.mark.usefixtures("short_timeouts")


@pytest.fixture
def rolling(tmp_path: Path) -> Path:
    """The base file with v2 instead of v1."""
    document: dict[str, Any] = yaml.safe_load(BASE.read_text())
    ingress, stable, _ = document["applications"][0]["deployments"]
    ingress["user_config"]["rule"]["stable"] = "v2"
    stable["user_config"]["version"] = "v2"
    return write(tmp_path / "rolling.yaml", document)


def write(path: Path, document: Any) -> Path:
    path.write_text(yaml.safe_dump(document))
    return path


def test_deploy_prints_the_changes_and_waits(
    command: Command, running: RunningService, rolling: Path
) -> None:
    result = command("deploy", rolling)
    assert (result.code, result.err) == (0, "")
    head, *changes, revision, in_force = [line.split() for line in result.out.splitlines()]
    assert head == ["key", "now", "new", "applied"]
    assert changes == [
        ["animals.Ingress.user_config.rule.stable", '"v1"', '"v2"', "in", "place"],
        ["animals.StablePool.user_config.version", '"v1"', '"v2"', "in", "place"],
    ]
    assert revision == ["revision", "1", "is", "deployed"]
    assert in_force == ["rule", running.service.plane.rule.rule_id, "is", "in", "force"]
    assert running.service.plane.rule.versions == {"stable": "v2"}


def test_actor_and_reason_are_sent_for_the_audit_log(
    command: Command, running: RunningService, rolling: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("deploy", rolling, "--reason", "koalas")
    command("deploy", rolling)
    monkeypatch.setattr(getpass, "getuser", _raise_no_name)
    command("deploy", rolling, "--reason", "without a name")
    first, second, nameless = running.controller.actors_and_reasons
    assert first[1] == "koalas"
    assert second == (first[0], f"deploy {rolling}")
    assert nameless[0].startswith("user ")


def _raise_no_name() -> str:
    raise KeyError("getpwuid(): uid not found: 1000730000")


def test_diff_deploys_nothing(command: Command, running: RunningService, rolling: Path) -> None:
    result = command("deploy", rolling, "--diff")
    assert result.code == 0
    assert "animals.StablePool.user_config.version" in result.out
    assert running.controller.actors_and_reasons == []


def test_an_unchanged_file_has_no_changes(command: Command, running: RunningService) -> None:
    assert (
        command("deploy", BASE, "--diff").out
        == "no changes: this configuration is deployed already\n"
    )


def test_changes_that_need_new_replicas_are_marked(
    command: Command, running: RunningService, tmp_path: Path
) -> None:
    document = yaml.safe_load(BASE.read_text())
    document["applications"][0]["args"] = {"backend": "torch"}
    result = command("deploy", write(tmp_path / "torch.yaml", document), "--diff")
    assert result.out.splitlines()[1].split() == [
        "animals.args.backend", "-", '"torch"', "with", "new", "replicas",
    ]  # fmt: skip


@pytest.mark.parametrize("wait", [True, False])
def test_an_invalid_file_is_rejected_before_it_is_sent(
    command: Command, running: RunningService, rolling: Path, wait: bool
) -> None:
    rolling.write_text(rolling.read_text().replace("v2", "v9"))
    result = command("deploy", rolling, "--wait" if wait else "--no-wait")
    assert (result.code, result.err) == (1, "Error: rule.stable is v9: the registry has v1, v2")
    assert running.controller.actors_and_reasons == []


def test_a_missing_file_is_a_one_line_error(command: Command, tmp_path: Path) -> None:
    result = command("deploy", tmp_path / "none.yaml")
    assert result.code == 1
    assert result.err.startswith(f"Error: {tmp_path}/none.yaml cannot be read (No such file")


def test_no_wait_returns_at_once(command: Command, running: RunningService, rolling: Path) -> None:
    running.controller.ignores_deployments = True
    result = command("deploy", rolling, "--no-wait")
    assert result.code == 0
    assert result.out.splitlines()[-1] == "revision 1 is deployed"


def test_a_timeout_names_the_unmet_conditions(
    command: Command, running: RunningService, rolling: Path
) -> None:
    running.controller.ignores_deployments = True
    desired = desired_state(config.read(rolling))
    result = command("deploy", rolling)
    assert result.code == 1
    *progress, error = result.err.splitlines()
    unmet = (
        f"waiting for rule {desired.rule.rule_id} to replace rule"
        f" {running.service.plane.rule.rule_id};"
        " updating StablePool to v2 (0 of 1 replicas ready)"
    )
    assert progress == [unmet]
    assert error == f"Error: not in force after 0.3 s: {unmet}; see serve-app status"


def test_a_warning_does_not_prevent_the_deployment(
    command: Command, running: RunningService, tmp_path: Path
) -> None:
    document = yaml.safe_load((ROOT / "deploy_configs/canary_parallel.yaml").read_text())
    document["applications"][0]["deployments"][0]["user_config"]["rule"]["weight"] = 0.4
    file = write(tmp_path / "canary.yaml", document)
    assert command("deploy", file, "--diff").err == ""
    result = command("deploy", file)
    assert (result.code, result.err) == (
        0,
        "Warning: the canary gets 0.4 of the units: at most 0.35 is recommended\n",
    )


def test_an_unhealthy_deployment_is_not_in_force(
    command: Command, running: RunningService, rolling: Path
) -> None:
    running.controller.unhealthy["StablePool"] = "no room"
    result = command("deploy", rolling)
    assert result.code == 1
    assert "deployment StablePool is UNHEALTHY: no room" in result.err


def test_a_rule_that_the_ingress_rejects_fails_at_once(
    command: Command, running: RunningService, rolling: Path
) -> None:
    """The registry on its machine may lack a version."""
    running.controller.ignores_deployments = True
    running.service.plane.reject(BadConfig("rule.stable", "is v2: the registry has v1"))
    result = command("deploy", rolling)
    assert (result.code, result.err) == (
        1,
        "Error: a rule was rejected: rule.stable is v2: the registry has v1",
    )
