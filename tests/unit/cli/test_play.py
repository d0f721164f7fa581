"""`serve-app scenario`: the list, and a scenario from its rule to its report."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from models import registry
from models.card import Faults
from models.faults import publish_test_version
from serve_app.cli import scenario, temporary_changes
from serve_app.deployment import config
from serve_app.deployment.names import INGRESS
from serve_app.rules.parse import read_rule
from serve_app.traffic import images
from tests.unit.cli.conftest import Command, CommandResult, RunningService
from tests.unit.service import AB, PARALLEL, SHADOW, SINGLE

SCENARIO = {
    "name": "some",
    "about": "Something happens.",
    "requests": 30,
    "users": 6,
    "regions": {"AU": 1.0},
    "photographs": [{"shares": {"cat": 1.0}}],
    "rule": PARALLEL | {"experiment": "some", "candidate": "v102"},
    "test_versions": {"v102": {"of": "v2", "fail": 0.5}},
}
Play = Callable[..., CommandResult]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The registry of the service: a copy made of links, for a test version."""
    shutil.copytree(
        registry.SHIPPED,
        tmp_path / "r",
        ignore=shutil.ignore_patterns("v1?*"),
        copy_function=os.symlink,
    )
    monkeypatch.setattr(registry, "SHIPPED", tmp_path / "r")
    return tmp_path / "r"


@pytest.fixture
def play(
    command: Command,
    running: RunningService,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Play:
    """Plays a scenario; its report is there at once, and empty but for the verdict."""
    monkeypatch.setattr(images, "IMAGES_PER_LABEL", 1)
    monkeypatch.setattr("time.sleep", lambda _: None)
    report = {"finding": "worse", "sentence": "candidate is worse."}
    monkeypatch.setattr(temporary_changes, "show_report", lambda *_: report)

    def run(content: dict[str, Any], *options: str) -> CommandResult:
        file = tmp_path / "some.yaml"
        file.write_text(yaml.safe_dump(content))
        return command("scenario", "play", file, *options)

    return run


def test_the_list_says_how_long_each_takes(command: Command) -> None:
    listed = json.loads(command("scenario", "list", "--json").out)
    assert {"slower-v2", "nothing"} <= {scenario["name"] for scenario in listed}
    assert all(60 < scenario["typical_seconds"] < 600 for scenario in listed)
    shown = command("scenario", "list").out
    assert all(scenario["about"] in shown for scenario in listed)


def test_a_scenario_is_played_and_what_was_before_is_restored(
    play: Play, running: RunningService, folder: Path
) -> None:
    result = play(SCENARIO)
    assert result.code == 0, result.err
    assert "Verdict: worse. candidate is worse." in result.out
    assert "In force is revision 1: all requests get v1. It is restored at the end." in result.out
    played, _ = running.control.revisions
    experiment = str(config.user_configs(played.document)[INGRESS]["rule"]["experiment"])
    assert experiment.startswith("some-")
    assert running.service.plane.rule.kind == "single"
    assert registry.names(folder) == ("v1", "v2")


def test_a_kept_rule_stays_in_force(play: Play, running: RunningService, folder: Path) -> None:
    result = play(SCENARIO, "--keep")
    assert "serve-app revision restore 1" in result.out
    assert "serve-app models remove v102" in result.out
    assert running.service.plane.rule.kind == "canary_parallel"
    assert registry.names(folder) == ("v1", "v2", "v102")


def test_an_error_restores_what_was_before(
    play: Play, running: RunningService, folder: Path
) -> None:
    result = play(SCENARIO | {"photographs": [{"shares": {"bird": 1.0}}]})
    assert result.code == 1
    assert "names bird" in result.err
    assert running.service.plane.rule.kind == "single"
    assert registry.names(folder) == ("v1", "v2")


def test_a_test_version_of_another_kind_is_not_used(
    play: Play, running: RunningService, folder: Path
) -> None:
    publish_test_version(registry.load("v2", folder), "v102", Faults(wrong=1), folder)
    result = play(SCENARIO)
    assert result.code == 1
    assert "v102 is not the test version that this needs (v2, 50 % of its calls fail)" in result.err
    assert registry.names(folder) == ("v1", "v2", "v102")
    assert running.control.revisions == []


def test_a_present_test_version_is_used_and_stays(
    play: Play, running: RunningService, folder: Path
) -> None:
    publish_test_version(registry.load("v2", folder), "v102", Faults(fail=0.5), folder)
    assert play(SCENARIO).code == 0
    assert registry.names(folder) == ("v1", "v2", "v102")


def test_a_scenario_without_a_rule_is_not_played(play: Play) -> None:
    result = play(SCENARIO | {"rule": None})
    assert result.code == 1
    assert "rule is missing" in result.err


def test_an_unknown_scenario_is_a_usage_error(command: Command) -> None:
    result = command("scenario", "play", "none")
    assert result.code == 2
    assert "slower-v2" in result.err


@pytest.mark.parametrize("arguments", [("list",), ("list", "--json"), ("play", "slower-v2")])
def test_an_installation_without_scenario_files_says_where_they_are(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr(scenario, "FOLDER", tmp_path / "none")
    result = command("scenario", *arguments)
    assert result.code == 1
    assert "docs/scenarios of the source of serve-app" in result.err


@pytest.mark.parametrize(
    ("rule", "seconds"),
    [
        (SINGLE, 0),
        (SHADOW, 0),
        (PARALLEL | {"settle": "30s"}, 30),
        (AB | {"unit": "request", "settle": "30s", "outcome": {"window": "1m"}}, 120),
        (AB | {"unit": "user", "settle": "30s", "outcome": {"window": "1m"}}, 90),
    ],
)
def test_requests_count_after_the_ages_of_the_rule(rule: dict[str, Any], seconds: float) -> None:
    assert temporary_changes.settle_s(read_rule(rule)) == seconds


def test_a_run_has_an_experiment_of_its_own() -> None:
    new, rule = temporary_changes.with_new_experiment, AB | {"experiment": "x"}
    assert len({new(rule, at_s)["experiment"] for at_s in (0, 1, 9e8)}) == 3
    assert new(SHADOW, 0)["experiment"] == "shadow-0101-000000"
