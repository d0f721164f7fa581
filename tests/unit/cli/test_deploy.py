from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.errors import BadConfig
from tests.unit.cli.conftest import ROOT, Command, Running

BASE = ROOT / "deploy_configs/base.yaml"
pytestmark = pytest.mark.usefixtures("hurried")


@pytest.fixture
def rolling(tmp_path: Path) -> Path:
    """Base, with v2 where it has v1."""
    document: dict[str, Any] = yaml.safe_load(BASE.read_text())
    ingress, stable, _ = document["applications"][0]["deployments"]
    ingress["user_config"]["rule"]["stable"] = "v2"
    stable["user_config"]["version"] = "v2"
    return write(tmp_path / "rolling.yaml", document)


def write(path: Path, document: Any) -> Path:
    path.write_text(yaml.safe_dump(document))
    return path


def test_what_is_deployed_is_shown_and_waited_for(
    command: Command, running: Running, rolling: Path
) -> None:
    done = command("deploy", rolling)
    assert (done.code, done.err) == (0, "")
    head, *changes, revision, in_force = [line.split() for line in done.out.splitlines()]
    assert head == ["key", "now", "then", "takes"]
    assert changes == [
        ["animals.Ingress.user_config.rule.stable", '"v1"', '"v2"', "effect", "in", "place"],
        ["animals.StablePool.user_config.version", '"v1"', '"v2"', "effect", "in", "place"],
    ]
    assert revision == ["revision", "1", "is", "deployed"]
    assert in_force == ["rule", running.service.plane.rule.rule_id, "is", "in", "force"]
    assert running.service.plane.rule.versions == {"stable": "v2"}


def test_who_deployed_and_why_goes_into_the_audit(
    command: Command, running: Running, rolling: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("deploy", rolling, "--reason", "koalas")
    command("deploy", rolling)
    monkeypatch.setattr(getpass, "getuser", _no_name)
    command("deploy", rolling, "--reason", "as nobody")
    first, second, nameless = running.controller.deployed_by
    assert first[1] == "koalas"
    assert second == (first[0], f"deploy {rolling}")
    assert nameless[0].startswith("user ")


def _no_name() -> str:
    raise KeyError("getpwuid(): uid not found: 1000730000")


def test_a_diff_deploys_nothing(command: Command, running: Running, rolling: Path) -> None:
    done = command("deploy", rolling, "--diff")
    assert done.code == 0
    assert "animals.StablePool.user_config.version" in done.out
    assert running.controller.deployed_by == []


def test_what_runs_already_is_said_to(command: Command, running: Running) -> None:
    assert command("deploy", BASE, "--diff").out == "it is what runs already\n"


def test_what_takes_new_replicas_is_said_to(
    command: Command, running: Running, tmp_path: Path
) -> None:
    document = yaml.safe_load(BASE.read_text())
    document["applications"][0]["args"] = {"backend": "torch"}
    done = command("deploy", write(tmp_path / "torch.yaml", document), "--diff")
    assert done.out.splitlines()[1].split() == [
        "animals.args.backend", "-", '"torch"', "new", "replicas",
    ]  # fmt: skip


@pytest.mark.parametrize("wait", [True, False])
def test_a_wrong_file_is_rejected_before_anything_is_sent(
    command: Command, running: Running, rolling: Path, wait: bool
) -> None:
    rolling.write_text(rolling.read_text().replace("v2", "v9"))
    done = command("deploy", rolling, "--wait" if wait else "--no-wait")
    assert (done.code, done.err) == (1, "Error: rule.stable is v9: the registry has v1, v2")
    assert running.controller.deployed_by == []


def test_a_missing_file_is_told_in_one_line(command: Command, tmp_path: Path) -> None:
    done = command("deploy", tmp_path / "none.yaml")
    assert done.code == 1
    assert done.err.startswith(f"Error: {tmp_path}/none.yaml cannot be read (No such file")


def test_without_waiting_nothing_is_asked_afterwards(
    command: Command, running: Running, rolling: Path
) -> None:
    running.controller.is_deaf = True
    done = command("deploy", rolling, "--no-wait")
    assert done.code == 0
    assert done.out.splitlines()[-1] == "revision 1 is deployed"


def test_what_does_not_come_into_force_in_time_is_told_with_what_is_missing(
    command: Command, running: Running, rolling: Path
) -> None:
    running.controller.is_deaf = True
    done = command("deploy", rolling)
    assert done.code == 1
    *progress, error = done.err.splitlines()
    missing = (
        f"rule {running.service.plane.rule.rule_id} is still in force;"
        " StablePool: 0 of 1 replicas hold v2"
    )
    assert progress == [missing]
    assert error == f"Error: not in force after 0.3 s: {missing}; see serve-app status"


def test_what_is_seldom_wise_is_warned_of_and_deployed(
    command: Command, running: Running, tmp_path: Path
) -> None:
    document = yaml.safe_load((ROOT / "deploy_configs/canary_parallel.yaml").read_text())
    document["applications"][0]["deployments"][0]["user_config"]["rule"]["weight"] = 0.4
    file = write(tmp_path / "canary.yaml", document)
    assert command("deploy", file, "--diff").err == ""
    done = command("deploy", file)
    assert (done.code, done.err) == (
        0,
        "Warning: the canary gets 0.4 of the units: ideally below 0.35\n",
    )


def test_an_unhealthy_deployment_is_not_in_force(
    command: Command, running: Running, rolling: Path
) -> None:
    running.controller.unhealthy["StablePool"] = "no room"
    done = command("deploy", rolling)
    assert done.code == 1
    assert "deployment StablePool is UNHEALTHY: no room" in done.err


def test_a_rule_that_the_ingress_rejects_is_told_at_once(
    command: Command, running: Running, rolling: Path
) -> None:
    """Such as a registry that its machine does not have."""
    running.controller.is_deaf = True
    running.service.plane.reject(BadConfig("rule.stable", "is v2: the registry has v1"))
    done = command("deploy", rolling)
    assert (done.code, done.err) == (
        1,
        "Error: a rule was rejected: rule.stable is v2: the registry has v1",
    )
