from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from serve_app.deployment.experiments import Experiments
from serve_app.errors import Busy
from serve_app.rules.parse import parse_rule
from serve_app.traffic import images
from tests.unit.cli.conftest import Command, RunningService

pytestmark = pytest.mark.slow

demo = importlib.import_module("serve_app.cli.demo")  # not the command of that name


@pytest.fixture(autouse=True)
def _small_demo(running: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few requests; the outcomes of copies are counted at once instead of when they are stored."""
    store, mirror = running.control.store, running.service.plane.mirror
    empty = store.recording()

    class Recording:
        """A recording with the outcomes of the mirror."""

        outcomes = mirror.outcome_counts

        def __getattr__(self, name: str) -> Any:
            return getattr(empty, name)

    monkeypatch.setattr(store, "recording", Recording)
    monkeypatch.setattr(images, "IMAGES_PER_LABEL", 1)
    for name, value in {
        "REQUESTS": 40,
        "REQUESTS_PER_ROUND": 10,
        "USERS": 20,
        "POLL_S": 0.01,
    }.items():
        monkeypatch.setattr(demo, name, value)


@pytest.fixture
def output(command: Command, running: RunningService) -> list[str]:
    """The lines that the demo prints."""
    result = command("demo")
    assert (result.code, result.err) == (0, "")
    return result.out.splitlines()


def test_every_step_runs_and_v1_serves_at_the_end(
    running: RunningService, output: list[str]
) -> None:
    titles = [line for line in output if line[:2] in {f"{number}." for number in range(1, 10)}]
    assert titles == [f"{number}. {step.title}" for number, step in enumerate(demo.STEPS, 1)]
    rule = running.service.plane.rule
    assert (rule.kind, rule.versions) == ("single", {"stable": "v1"})
    assert sum(", 0 failed; latency" in line for line in output) == len(demo.STEPS)


def test_the_shadow_serves_no_request(output: list[str]) -> None:
    assert (
        "- served by 40 v1; the predictions of v2 for the copies are stored, not returned" in output
    )
    copies = next(line for line in output if line.startswith("- copies: "))
    counts = [int(part.split()[0]) for part in copies.removeprefix("- copies: ").split(", ")]
    assert sum(counts) == 40


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


def test_both_versions_serve_during_an_update(output: list[str]) -> None:
    updates = [line for line in output if "during the update" in line]
    assert len(updates) == 2
    for line in updates:
        assert "during the update, 0 of " in line
        assert " v1, " in line
        assert line.endswith(" v2")


def test_failed_requests_are_counted(command: Command, running: RunningService) -> None:
    running.service.pools.next_results += [Busy("full")]
    result = command("demo")
    assert (result.code, result.err) == (1, "1 x 429: full\n")


def test_the_demo_can_run_again_with_its_experiments(tmp_path: Path) -> None:
    experiments = Experiments(tmp_path)
    for _ in range(2):
        for step in demo.STEPS:
            if not isinstance(step.change, str):
                experiments.claim(parse_rule(step.change, ("v1", "v2")))
