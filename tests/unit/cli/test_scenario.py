"""`serve-app traffic --scenario`, against the data plane in this process with fake pools.

A small Starlette application replaces the service where the service should misbehave.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from serve_app.errors import NotReady
from serve_app.rules.parse import parse_rule
from serve_app.rules.plan import Context
from serve_app.traffic.population import draw_population, is_lost
from serve_app.traffic.scenario import parse_scenario
from tests.unit.cli.conftest import Command, CommandResult, RunningService, Serve
from tests.unit.service import AB, SHADOW, image
from tests.unit.traffic.test_population import assert_share

pytestmark = pytest.mark.slow

SCENARIO: dict[str, Any] = {
    "name": "some",
    "requests": 60,
    "users": 12,
    "regions": {"AU": 0.5, "DE": 0.5},
    "photographs": [{"shares": {"cat": 0.5, "dog": 0.5}}],
}
ALWAYS = {"coverage": 1, "complaint": {"wrong": 1, "right": 0}, "tells_truth": True}
BY_USER = AB | {"unit": "user"}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for label in ("cat", "dog"):
        folder = tmp_path / "images" / label
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(image(label))
    return tmp_path / "images"


class ScenarioCommand:
    """Runs `serve-app traffic` with a scenario."""

    def __init__(self, command: Command, folder: Path, images: Path) -> None:
        self._command = command
        self._file = folder / "scenario.yaml"
        self._images = images

    def __call__(self, content: dict[str, Any], *options: object) -> CommandResult:
        self._file.write_text(yaml.safe_dump(content))
        arguments = ("--scenario", self._file, "--images", self._images, "--clients", "2")
        return self._command("traffic", *arguments, *map(str, options))

    def summary(self, content: dict[str, Any], *options: object) -> dict[str, Any]:
        result = self(content, "--json", *options)
        assert result.code == 0, result.err
        summary: dict[str, Any] = json.loads(result.out)
        return summary


@pytest.fixture
def run_scenario(command: Command, tmp_path: Path, images: Path) -> ScenarioCommand:
    return ScenarioCommand(command, tmp_path, images)


def test_feedback_is_sent_and_counted(
    run_scenario: ScenarioCommand, running: RunningService
) -> None:
    summary = run_scenario.summary(SCENARIO | {"feedback": ALWAYS})
    assert summary["scenario"] == "some"
    assert (summary["requests"], summary["lost"], summary["unsupported"]) == (60, {}, [])
    assert summary["feedback"] == {
        "acknowledged": 60,
        "rejected": 0,
        "failed": 0,
        "failures": {},
    }
    exposures = {e.sequence: e for e in running.service.exposures()}
    feedback = running.service.feedback()
    assert len(feedback) == 60
    assert {entry.label for entry in feedback} == {"cat", "dog"}
    for entry in feedback:
        assert entry.complaint == (entry.label != exposures[entry.sequence].label)


def test_without_feedback_none_is_sent(
    run_scenario: ScenarioCommand, running: RunningService
) -> None:
    summary = run_scenario.summary(SCENARIO)
    assert summary["feedback"]["acknowledged"] == 0
    assert "feedback" not in run_scenario(SCENARIO).out
    assert running.service.feedback() == []


@pytest.mark.parametrize("is_revealed", [True, False])
def test_complaint_extra_applies_to_the_assigned_version(
    run_scenario: ScenarioCommand, running: RunningService, is_revealed: bool
) -> None:
    """Also if predictions hide the version; `GET /v1/explain` has it."""
    running.service.apply_rule_with_candidate(**BY_USER, reveal_version=is_revealed)
    habits = {"coverage": 1, "complaint": {"wrong": 0, "right": 0}, "complaint_extra": {"v2": 1}}
    run_scenario.summary(SCENARIO | {"feedback": habits})
    complaints = Counter((f.assigned, f.complaint) for f in running.service.feedback())
    assert set(complaints) == {("v1", False), ("v2", True)}


def test_lost_users_send_nothing(run_scenario: ScenarioCommand, running: RunningService) -> None:
    running.service.apply_rule_with_candidate(**BY_USER)
    content = SCENARIO | {"requests": 400, "users": 200, "lost": {"v2": 0.5}}
    summaries = [run_scenario.summary(content) for _ in range(2)]
    assert summaries[0]["lost"] == summaries[1]["lost"], "the same seed gives the same users"
    lost = summaries[0]["lost"]
    assert set(lost) == {"v2"}
    assert summaries[0]["requests"] == 400 - lost["v2"]["requests"]

    scenario = parse_scenario(content)
    population = draw_population(scenario, seed=1)
    rule, pseudonym = parse_rule(BY_USER, ("v1", "v2")), running.service.pseudonymizer.pseudonym
    exposed = {(e.user, e.assigned) for e in running.service.exposures()}
    users = sorted(set(population.user.tolist()))
    assigned = {
        user: "v2" if (rule.bucket(Context("r", pseudonym(f"user-{user}"))) or 0) < 0.5 else "v1"
        for user in users
    }
    expected = {
        (pseudonym(f"user-{u}"), v)
        for u, v in assigned.items()
        if not is_lost(scenario, population, u, v)
    }
    assert exposed == expected
    v2_users = [user for user, version in assigned.items() if version == "v2"]
    assert lost["v2"]["users"] == sum(
        is_lost(scenario, population, user, "v2") for user in v2_users
    )
    assert len([v for _, v in exposed if v == "v1"]) == len(assigned) - len(v2_users)


def test_lost_users_are_printed(run_scenario: ScenarioCommand, running: RunningService) -> None:
    running.service.apply_rule_with_candidate(**BY_USER)
    result = run_scenario(SCENARIO | {"lost": {"v2": 1}, "feedback": ALWAYS})
    (line,) = [line for line in result.out.splitlines() if line.startswith("lost: ")]
    assert " users of v2 with " in line
    assert line.endswith(" requests that were not sent")
    assert "feedback: " in result.out
    assert {e.assigned for e in running.service.exposures()} == {"v1"}


@pytest.mark.parametrize("rule", [AB, SHADOW, AB | {"unit": "session"}])
def test_lost_users_need_a_rule_with_unit_user(
    run_scenario: ScenarioCommand, running: RunningService, rule: dict[str, Any]
) -> None:
    running.service.apply_rule_with_candidate(**rule)
    result = run_scenario(SCENARIO | {"lost": {"v2": 0.5}})
    assert result.code == 1
    assert result.err.startswith(f"Error: lost does not fit the rule in force, {rule['kind']}, ")
    assert running.service.exposures() == []


def test_complaint_extra_needs_known_versions(
    run_scenario: ScenarioCommand, running: RunningService
) -> None:
    running.service.apply_rule_with_candidate(**AB, reveal_version=False)
    extra = ALWAYS | {"complaint": {"wrong": 0.5, "right": 0}, "complaint_extra": {"v2": 0.5}}
    result = run_scenario(SCENARIO | {"feedback": extra})
    assert result.code == 1
    assert "feedback.complaint_extra does not fit the rule in force, ab_test" in result.err
    assert result.err.endswith("unit: user or reveal_version: true")


def test_unsupported_settings_are_warnings(
    run_scenario: ScenarioCommand, running: RunningService
) -> None:
    hours = [*SCENARIO["photographs"], {"shares": {"cat": 1.0}, "hours": [7]}]
    content = SCENARIO | {"photographs": hours}
    result = run_scenario(content)
    assert result.code == 0
    assert result.err.splitlines() == [
        "Warning: ignored: photographs.hours: requests are not spread over the hours of a real day",
    ]
    assert len(run_scenario.summary(content)["unsupported"]) == 1


def test_images_have_the_labels_of_the_scenario(
    run_scenario: ScenarioCommand, running: RunningService
) -> None:
    australia = {"shares": {"dog": 1.0}, "regions": ["australia-pacific"]}
    content = SCENARIO | {"photographs": [{"shares": {"cat": 1.0}}, australia], "users": 60}
    run_scenario.summary(content, "--requests", 200)
    exposures = running.service.exposures()
    assert {(e.region, e.label) for e in exposures} == {("AU", "dog"), ("DE", "cat")}
    assert_share([e.region == "AU" for e in {e.user: e for e in exposures}.values()], 0.5)


def test_the_requests_option_scales_the_scenario(
    run_scenario: ScenarioCommand, running: RunningService
) -> None:
    assert run_scenario.summary(SCENARIO, "--requests", 20)["requests"] == 20
    assert len({e.user for e in running.service.exposures()}) <= 4


def test_a_session_lasts_one_hour(run_scenario: ScenarioCommand, running: RunningService) -> None:
    """A rule with unit: session splits the traffic."""
    running.service.apply_rule_with_candidate(**AB, unit="session")
    (reason,) = {group["reason"] for group in run_scenario.summary(SCENARIO)["answers"]}
    assert reason == "split"
    users = {(e.session, e.user) for e in running.service.exposures()}
    assert len(users) == len({session for session, _ in users}) > 12


def test_a_label_without_images_is_an_error(
    run_scenario: ScenarioCommand, running: RunningService
) -> None:
    result = run_scenario(SCENARIO | {"photographs": [{"shares": {"cat": 0.5, "koala": 0.5}}]})
    assert (result.code, result.err) == (
        1,
        "Error: photographs names koala: there are images of cat, dog",
    )


@pytest.mark.parametrize("option", ["--users", "--regions"])
def test_options_that_the_scenario_sets_are_usage_errors(
    run_scenario: ScenarioCommand, option: str
) -> None:
    result = run_scenario(SCENARIO, option, 5)
    assert result.code == 2
    assert option in result.err


def test_an_invalid_scenario_is_rejected_before_any_request(run_scenario: ScenarioCommand) -> None:
    result = run_scenario(SCENARIO | {"users": 0})
    assert result.err.startswith("Error: users is 0: expected at least 1")


def test_failed_feedback_is_counted(run_scenario: ScenarioCommand, running: RunningService) -> None:
    """The service responds 503 if it cannot store feedback."""

    async def fail(_: object) -> None:
        raise OSError("full")

    running.service.feedback_sink.accept = fail  # type: ignore[method-assign, assignment]
    result = run_scenario(SCENARIO | {"requests": 5, "feedback": ALWAYS})
    assert result.code == 1
    assert "feedback: 0 acknowledged, 0 rejected, 5 failed" in result.out
    assert result.err.startswith("5 x feedback, 503: ")


def test_rejected_feedback_is_counted(run_scenario: ScenarioCommand, serve: Serve) -> None:
    async def rule(_: Request) -> JSONResponse:
        return JSONResponse({})

    async def classify(_: Request) -> JSONResponse:
        content = {"prediction_id": "p", "label": "cat", "reason": "static", "version": "v1"}
        return JSONResponse(content)

    async def reject(_: Request) -> JSONResponse:
        return JSONResponse({"detail": "unknown prediction"}, 404)

    routes = [
        Route("/v1/rule", rule),
        Route("/v1/classify", classify, methods=["POST"]),
        Route("/v1/feedback", reject, methods=["POST"]),
    ]
    serve(Starlette(routes=routes))
    result = run_scenario(SCENARIO | {"requests": 5, "feedback": ALWAYS}, "--json")
    assert result.code == 1
    assert json.loads(result.out)["feedback"] == {
        "acknowledged": 0,
        "rejected": 5,
        "failed": 0,
        "failures": {"404: unknown prediction": 5},
    }


def test_an_error_of_explain_ends_the_run(
    run_scenario: ScenarioCommand, running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.service.apply_rule_with_candidate(**BY_USER)

    def fail(*_: object) -> None:
        raise NotReady("no replica")

    monkeypatch.setattr(running.service.plane, "plan", fail)
    result = run_scenario(SCENARIO | {"lost": {"v2": 0.5}})
    assert (result.code, result.err) == (1, "Error: no replica (HTTP 503)")
