from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from serve_app.cli import waiting
from serve_app.deployment.experiments import Experiments
from serve_app.errors import Busy
from serve_app.rules.parse import parse_rule
from serve_app.traffic import images
from tests.unit.cli.conftest import Command, Running

demo = importlib.import_module("serve_app.cli.demo")  # the package has the command by that name

pytestmark = pytest.mark.usefixtures("hurried", "short")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "IMAGES_PER_LABEL", 1)
    for name, value in {"REQUESTS": 40, "A_ROUND": 10, "USERS": 20, "POLL_S": 0.01}.items():
        monkeypatch.setattr(demo, name, value)
    monkeypatch.setattr(waiting, "WAIT_S", 20)  # the traffic of an update is in the way


@pytest.fixture
def told(command: Command, running: Running) -> list[str]:
    """What the demonstration prints."""
    running.controller.shadow = running.service.plane.mirror.outcome_counts
    done = command("demo")
    assert (done.code, done.err) == (0, "")
    return done.out.splitlines()


def test_every_act_is_played_and_v1_is_left(running: Running, told: list[str]) -> None:
    titles = [line for line in told if line[:2] in {f"{number}." for number in range(1, 10)}]
    assert titles == [f"{number}. {act.title}" for number, act in enumerate(demo.ACTS, 1)]
    rule = running.service.plane.rule
    assert (rule.kind, rule.versions) == ("single", {"stable": "v1"})
    assert sum(", 0 failed; latency" in line for line in told) == len(demo.ACTS)


def test_the_shadow_answers_nobody(told: list[str]) -> None:
    assert "- answered by 40 v1; what v2 said of the copies is stored" in told
    copies = next(line for line in told if line.startswith("- copies: "))
    counts = [int(part.split()[0]) for part in copies.removeprefix("- copies: ").split(", ")]
    assert sum(counts) == 40


def test_a_user_keeps_the_candidate_as_its_share_grows(told: list[str]) -> None:
    for weight in ("0.1", "0.3"):
        assert sum(line.startswith(f"- the weight is {weight}: v2 answers ") for line in told) == 1
    assert told.count("- asked once more, 0 of them got the other version") == 2
    (kept,) = [line for line in told if "answered before" in line]
    had, has = [int(word) for word in kept.split() if word.isdigit()]
    assert had == has > 0


def test_nobody_outside_the_region_gets_the_treatment(told: list[str]) -> None:
    inside = [line for line in told if line.startswith(("- AU: ", "- NZ: ", "- FJ: "))]
    outside = [line for line in told if ", not targeted: " in line]
    assert (len(inside), len(outside)) == (3, 3)
    assert any("v2" in line for line in inside)
    assert not any("v2" in line for line in outside)


def test_both_versions_answer_during_an_update(told: list[str]) -> None:
    updates = [line for line in told if "took the version" in line]
    assert len(updates) == 2
    for line in updates:
        assert "the version, 0 of " in line
        assert " v1, " in line
        assert line.endswith(" v2")


def test_failures_are_counted(command: Command, running: Running) -> None:
    running.controller.shadow = running.service.plane.mirror.outcome_counts
    running.service.pools.script += [Busy("full")]
    done = command("demo")
    assert (done.code, done.err) == (1, "1 x 429: full\n")


def test_its_experiments_may_be_used_again(tmp_path: Path) -> None:
    experiments = Experiments(tmp_path)
    for _ in range(2):
        for act in demo.ACTS:
            if not isinstance(act.change, str):
                experiments.claim(parse_rule(act.change, ("v1", "v2")))
