from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.deployment.names import INGRESS
from serve_app.rules.plan import Pool
from tests.unit.cli.conftest import BASE, ROOT, Command, RunningService

NEVER_SERVED = "Warning: v2 has never served a user\n"


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
    assert (result.code, result.err) == (0, NEVER_SERVED)
    rule_id = running.service.plane.rule.rule_id
    assert result.out.splitlines() == [
        "all users: v1 → v2",
        f"revision 2 with rule {rule_id} is deployed",
        f"rule {rule_id} is in force",
    ]
    assert running.service.plane.rule.versions == {"stable": "v2"}


def test_an_unchanged_file_changes_nothing(command: Command, running: RunningService) -> None:
    result = command("deploy", BASE)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[0] == ("nothing changes: this configuration is deployed already")
    assert running.control.revisions == []


def test_changes_that_need_new_replicas_are_marked(
    command: Command, running: RunningService, tmp_path: Path
) -> None:
    document = yaml.safe_load(BASE.read_text())
    document["applications"][0]["args"] = {"backend": "torch"}
    result = command("deploy", write(tmp_path / "torch.yaml", document), "--dry-run")
    assert result.out.startswith('animals.args.backend: unset → "torch", with new replicas\n')


def test_an_invalid_file_is_rejected(
    command: Command, running: RunningService, rolling: Path
) -> None:
    rolling.write_text(rolling.read_text().replace("v2", "v9"))
    result = command("deploy", rolling)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("Error: rule.stable is v9: the registry has v1, v2")
    assert running.control.revisions == []


def test_a_missing_file_is_a_one_line_error(command: Command, tmp_path: Path) -> None:
    result = command("deploy", tmp_path / "none.yaml")
    assert result.code == 1
    assert result.err.startswith(f"Error: {tmp_path}/none.yaml cannot be read (No such file")


@pytest.mark.usefixtures("short_timeout")
def test_a_timeout_names_what_is_lacking(
    command: Command, running: RunningService, rolling: Path
) -> None:
    running.control.cluster.is_frozen = True
    result = command("deploy", rolling)
    lacking = "updating StablePool to v2 (0 of 1 replicas ready)"
    assert result.code == 1
    assert result.err.splitlines()[1:] == [
        lacking,
        f"Error: not in force after 0 s: {lacking}; see serve-app status",
    ]


def test_a_warning_does_not_prevent_the_deployment(
    command: Command, running: RunningService, tmp_path: Path
) -> None:
    document = yaml.safe_load((ROOT / "deploy_configs/canary_parallel.yaml").read_text())
    document["applications"][0]["deployments"][0]["user_config"]["rule"]["weight"] = 0.4
    result = command("deploy", write(tmp_path / "canary.yaml", document))
    assert (result.code, result.err) == (
        0,
        "Warning: the canary gets 0.4 of the units: at most 0.35 is recommended\n",
    )


@pytest.mark.usefixtures("short_timeout")
def test_an_unhealthy_deployment_is_not_in_force(
    command: Command, running: RunningService, rolling: Path
) -> None:
    running.control.cluster.statuses[Pool.STABLE] = "UNHEALTHY"
    running.control.cluster.messages[Pool.STABLE] = "no room"
    result = command("deploy", rolling)
    assert result.code == 1
    assert "deployment StablePool is UNHEALTHY: no room" in result.err


def test_a_rule_that_the_ingress_rejects_fails_at_once(
    command: Command, running: RunningService, rolling: Path
) -> None:
    """The registry on its machine may lack a version."""
    rejected = {"path": "rule.stable", "message": "is v2: the registry has v1"}
    running.control.cluster.rejected[INGRESS] = rejected
    result = command("deploy", rolling)
    assert (result.code, result.err) == (
        1,
        f"{NEVER_SERVED}Error: a rule was rejected: rule.stable is v2: the registry has v1",
    )
