from __future__ import annotations

import importlib
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from models import registry
from serve_app.cli import temporary_changes
from serve_app.cli.changing import new_change
from serve_app.control_plane.changes import SetRule
from serve_app.deployment.experiments import Experiments
from serve_app.errors import Busy
from serve_app.rules.parse import parse_rule
from serve_app.traffic import images
from serve_app.traffic.runner import ScenarioResult
from tests.unit.cli.conftest import Command, RunningService, interrupt_first_request
from tests.unit.service import SINGLE

pytestmark = pytest.mark.slow

demo = importlib.import_module("serve_app.cli.demo")  # not the command of that name


@pytest.fixture(autouse=True)
def registry_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The registry of the service is a copy, made of links, for a test version."""
    folder = Path(
        shutil.copytree(
            registry.SHIPPED,
            tmp_path / "r",
            ignore=shutil.ignore_patterns("v1?*"),
            copy_function=os.symlink,
        )
    )
    monkeypatch.setattr(registry, "SHIPPED", folder)
    return folder


@pytest.fixture(autouse=True)
def _small_demo(
    registry_copy: Path, running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few requests, and reports at once; the pools of this process have no faults."""
    monkeypatch.setattr(images, "IMAGES_PER_LABEL", 1)
    monkeypatch.setattr(demo, "USERS", 60)
    for act in demo.ACTS:
        monkeypatch.setitem(act.__dict__, "requests", 40)
        monkeypatch.setitem(act.__dict__, "users", 20)
    # The name of an experiment salts the buckets: with the same one, the same users are drawn.
    new = temporary_changes.with_new_experiment
    monkeypatch.setattr(demo, "with_new_experiment", lambda rule, _: new(rule, 0))
    monkeypatch.setattr(demo, "REQUESTS_PER_ROUND", 10)
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(demo, "_print_report", lambda _: None)
    monkeypatch.setattr(temporary_changes.TemporaryChanges, "report", lambda *_: {})


@pytest.fixture
def output(command: Command, running: RunningService) -> list[str]:
    """The lines that the demo prints."""
    result = command("demo")
    assert result.code == 0, result.err
    return result.out.splitlines()


def test_every_act_runs_and_the_previous_revision_is_restored(
    running: RunningService, output: list[str], registry_copy: Path
) -> None:
    titles = [line for line in output if line[:2] in {f"{number}." for number in range(1, 10)}]
    assert titles == [f"{number}. {act.title}" for number, act in enumerate(demo.ACTS, 1)]
    rule = running.service.plane.rule
    assert (rule.kind, rule.versions) == ("single", {"stable": "v1"})
    assert sum(", 0 failed; latency" in line for line in output) == len(demo.ACTS)
    assert "Restoring revision 1" in output
    assert registry.names(registry_copy) == ("v1", "v2")


def test_every_act_says_a_command_for_it(output: list[str]) -> None:
    rules = [line for line in output if line.startswith("  $ serve-app rule set - <<< ")]
    assert len(rules) == len(demo.ACTS) - 1
    assert "  $ serve-app update v2 --method rolling" in output


def test_the_shadow_serves_no_request(output: list[str]) -> None:
    assert (
        "- served by 40 v1; the predictions of v2 for the copies are stored, not returned" in output
    )


def test_users_keep_the_candidate_when_its_weight_grows(output: list[str]) -> None:
    for weight in ("0.1", "0.3"):
        assert sum(line.startswith(f"- weight {weight}: v2 serves ") for line in output) == 1
    assert output.count("- 0 users changed version when all of them sent another request") == 2
    (line,) = [line for line in output if "at the previous weight" in line]
    still, before = [int(word) for word in line.split() if word.isdigit()]
    assert still == before > 0


def test_regions_that_are_not_targeted_get_the_control(output: list[str]) -> None:
    inside = [line for line in output if line.startswith(("- AU: ", "- NZ: ", "- FJ: "))]
    outside = [line for line in output if ", not targeted: " in line]
    assert (len(inside), len(outside)) == (3, 3)
    assert any("v2" in line for line in inside)
    assert not any("v2" in line for line in outside)


def test_both_versions_serve_during_the_update(output: list[str]) -> None:
    (line,) = [line for line in output if "during the update" in line]
    assert "during the update, 0 of " in line
    assert " v1, " in line
    assert line.endswith(" v2")


def test_failed_requests_are_counted(command: Command, running: RunningService) -> None:
    running.service.pools.next_results += [Busy("full")]
    result = command("demo")
    assert result.code == 1
    assert "1 x 429: full\n" in result.err


def test_ctrl_c_restores_the_previous_revision(
    command: Command, running: RunningService, registry_copy: Path
) -> None:
    interrupt_first_request(running)
    result = command("demo")
    assert result.code == 130
    assert "Restoring revision 1" in result.out
    assert running.service.plane.rule.kind == "single"
    assert registry.names(registry_copy) == ("v1", "v2")


def test_a_change_by_somebody_else_is_not_undone(
    command: Command, running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(service: Any, _: object) -> Any:
        service.client.apply(
            new_change(SetRule, "by somebody else", rule=SINGLE | {"stable": "v2"})
        )
        return iter(())

    monkeypatch.setitem(demo.ACTS[-1].__dict__, "describe", change)
    result = command("demo")
    assert result.code == 1
    assert "revision 1 is not restored" in result.err
    assert "serve-app models remove v103" in result.err
    assert "serve-app revision restore 1" in result.err
    assert running.service.plane.rule.versions == {"stable": "v2"}


def test_an_interrupted_update_is_finished_first(
    command: Command, running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, is_interrupted = demo.DemoService.send_requests, threading.Event()
    update = temporary_changes.TemporaryChanges.update

    def update_after_interrupt(*arguments: Any) -> None:
        is_interrupted.wait(20)
        update(*arguments)

    def interrupt(service: Any, requests: int, users: int) -> Any:
        if requests == demo.REQUESTS_PER_ROUND and running.service.plane.rule.kind == "ab_test":
            rounds.append(requests)
            if len(rounds) == 2:
                threading.Timer(0.1, is_interrupted.set).start()
                sys.exit(130)
        return send(service, requests, users)

    rounds: list[int] = []
    monkeypatch.setattr(temporary_changes.TemporaryChanges, "update", update_after_interrupt)
    monkeypatch.setattr(demo.DemoService, "send_requests", interrupt)
    result = command("demo")
    assert result.code == 130
    assert "Interrupted: the change in progress is finished first" in result.err
    assert running.control.actors_and_reasons[-2][1] == "demo: rolling update to v2"
    assert running.service.plane.rule.versions == {"stable": "v1"}


def test_a_service_that_does_not_come_back_ends_the_demo(
    command: Command, running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    gave_up = ScenarioResult([], {}, 300.0, gave_up=True)
    monkeypatch.setattr(demo, "send_traffic", lambda *_, **__: gave_up)
    result = command("demo")
    assert result.code == 1
    assert "the service did not come back" in result.err
    assert "\n2. " not in result.out
    assert running.service.plane.rule.kind == "single"


def test_each_demo_has_experiments_of_its_own(tmp_path: Path) -> None:
    experiments = Experiments(tmp_path)
    names = set()
    for at_s in (0, 1):
        for act in demo.ACTS:
            if isinstance(act.change, dict):
                rule = temporary_changes.with_new_experiment(act.change, at_s)
                experiments.claim(parse_rule(rule, ("v1", "v2", demo.FAULTY)))
                names.add(rule["experiment"])
    assert len(names) == 2 * len({a.change["experiment"] for a in demo.ACTS if a.change != "v2"})
