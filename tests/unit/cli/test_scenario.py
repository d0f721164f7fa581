"""A scenario over HTTP.

The service here is the real data plane in this process, behind uvicorn, over pools that are not
Ray's; where the service is to misbehave, a small application of Starlette stands for it.
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

from serve_app.domain import Context
from serve_app.errors import NotReady
from serve_app.rules.parse import parse_rule
from serve_app.traffic.population import draw_population, is_lost
from serve_app.traffic.scenario import parse_scenario
from tests.unit.cli.conftest import Command, Done, Running, Serve
from tests.unit.service import AB, SHADOW, image
from tests.unit.traffic.test_population import assert_share

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


class Play:
    """Runs `serve-app traffic` with a scenario."""

    def __init__(self, command: Command, folder: Path, images: Path) -> None:
        self._command = command
        self._file = folder / "scenario.yaml"
        self._photos = images

    def __call__(self, content: dict[str, Any], *options: object) -> Done:
        self._file.write_text(yaml.safe_dump(content))
        given = ("--scenario", self._file, "--images", self._photos, "--clients", "2")
        return self._command("traffic", *given, *map(str, options))

    def summary(self, content: dict[str, Any], *options: object) -> dict[str, Any]:
        done = self(content, "--json", *options)
        assert done.code == 0, done.err
        summary: dict[str, Any] = json.loads(done.out)
        return summary


@pytest.fixture
def play(command: Command, tmp_path: Path, images: Path) -> Play:
    return Play(command, tmp_path, images)


def test_feedback_is_kept_and_counted(play: Play, running: Running) -> None:
    summary = play.summary(SCENARIO | {"feedback": ALWAYS})
    assert summary["scenario"] == "some"
    assert (summary["requests"], summary["lost"], summary["unsupported"]) == (60, {}, [])
    assert summary["feedback"] == {
        "acknowledged": 60,
        "rejected": 0,
        "failed": 0,
        "failures": {},
    }
    exposures = {e.sequence: e for e in running.service.exposures()}
    words = running.service.feedback()
    assert len(words) == 60
    assert {word.label for word in words} == {"cat", "dog"}
    for word in words:
        assert word.complaint == (word.label != exposures[word.sequence].label)


def test_nothing_is_said_without_feedback(play: Play, running: Running) -> None:
    summary = play.summary(SCENARIO)
    assert summary["feedback"]["acknowledged"] == 0
    assert "feedback" not in play(SCENARIO).out
    assert running.service.feedback() == []


@pytest.mark.parametrize("is_revealed", [True, False])
def test_users_of_a_version_complain_more(play: Play, running: Running, is_revealed: bool) -> None:
    """Whether the answers say the version, or the plan does."""
    running.service.try_out(**BY_USER, reveal_version=is_revealed)
    habits = {"coverage": 1, "complaint": {"wrong": 0, "right": 0}, "complaint_extra": {"v2": 1}}
    play.summary(SCENARIO | {"feedback": habits})
    complaints = Counter((w.assigned, w.complaint) for w in running.service.feedback())
    assert set(complaints) == {("v1", False), ("v2", True)}


def test_lost_users_send_nothing(play: Play, running: Running) -> None:
    running.service.try_out(**BY_USER)
    content = SCENARIO | {"requests": 400, "users": 200, "lost": {"v2": 0.5}}
    played = [play.summary(content) for _ in range(2)]
    assert played[0]["lost"] == played[1]["lost"], "the same seed, the same users"
    (lost,) = [summary["lost"] for summary in played[:1]]
    assert set(lost) == {"v2"}
    assert played[0]["requests"] == 400 - lost["v2"]["requests"]

    scenario = parse_scenario(content)
    population = draw_population(scenario, seed=1)
    never_arrives, rule, unit = (
        is_lost(scenario, population),
        parse_rule(BY_USER, ("v1", "v2")),
        running.service.pseudonymizer.pseudonym,
    )
    seen = {(e.user, e.assigned) for e in running.service.exposures()}
    asking = sorted(set(population.user.tolist()))
    assigned = {
        user: "v2" if (position.bucket or 0) < 0.5 else "v1"
        for user in asking
        if (position := rule.position(Context("r", unit(f"user-{user}"))))
    }
    arrived = {(unit(f"user-{u}"), v) for u, v in assigned.items() if not never_arrives(u, v)}
    assert seen == arrived
    of_v2 = [user for user, version in assigned.items() if version == "v2"]
    assert lost["v2"]["users"] == sum(never_arrives(user, "v2") for user in of_v2)
    assert len([v for _, v in seen if v == "v1"]) == len(assigned) - len(of_v2)


def test_it_says_who_was_lost(play: Play, running: Running) -> None:
    running.service.try_out(**BY_USER)
    done = play(SCENARIO | {"lost": {"v2": 1}, "feedback": ALWAYS})
    (line,) = [line for line in done.out.splitlines() if line.startswith("lost: ")]
    assert " users of v2, who would have sent " in line
    assert "feedback: " in done.out
    assert {e.assigned for e in running.service.exposures()} == {"v1"}


@pytest.mark.parametrize("rule", [AB, SHADOW, AB | {"unit": "session"}])
def test_users_cannot_be_lost_where_none_is_assigned(
    play: Play, running: Running, rule: dict[str, Any]
) -> None:
    running.service.try_out(**rule)
    done = play(SCENARIO | {"lost": {"v2": 0.5}})
    assert done.code == 1
    assert done.err.startswith(f"Error: lost does not fit the rule in force, {rule['kind']}, ")
    assert running.service.exposures() == []


def test_a_blind_draw_hides_whom_users_should_like(play: Play, running: Running) -> None:
    running.service.try_out(**AB, reveal_version=False)
    extra = ALWAYS | {"complaint": {"wrong": 0.5, "right": 0}, "complaint_extra": {"v2": 0.5}}
    done = play(SCENARIO | {"feedback": extra})
    assert done.code == 1
    assert "feedback.complaint_extra does not fit the rule in force, ab_test" in done.err
    assert done.err.endswith("unit: user or reveal_version: true")


def test_what_a_client_cannot_do_is_told(play: Play, running: Running) -> None:
    hours = [*SCENARIO["photographs"], {"shares": {"cat": 1.0}, "hours": [7]}]
    content = SCENARIO | {"simulated": {"errors": {"v2": 0.1}}, "photographs": hours}
    done = play(content)
    assert done.code == 0
    assert done.err.splitlines() == [
        "Warning: left out: simulated.errors: only a simulation into a store can do that",
        "Warning: left out: photographs.hours: the hours pass as fast as the answers come",
    ]
    assert len(play.summary(content)["unsupported"]) == 2


def test_what_is_photographed_is_as_planted(play: Play, running: Running) -> None:
    here = {"shares": {"dog": 1.0}, "regions": ["australia-pacific"]}
    content = SCENARIO | {"photographs": [{"shares": {"cat": 1.0}}, here], "users": 60}
    play.summary(content, "--requests", 200)
    exposures = running.service.exposures()
    assert {(e.region, e.label) for e in exposures} == {("AU", "dog"), ("DE", "cat")}
    assert_share([e.region == "AU" for e in {e.user: e for e in exposures}.values()], 0.5)


def test_requests_are_scaled(play: Play, running: Running) -> None:
    assert play.summary(SCENARIO, "--requests", 20)["requests"] == 20
    assert len({e.user for e in running.service.exposures()}) <= 4


def test_a_session_lasts_within_an_hour(play: Play, running: Running) -> None:
    """So a rule whose unit is the session has units."""
    running.service.try_out(**AB, unit="session")
    (reason,) = {group["reason"] for group in play.summary(SCENARIO)["answers"]}
    assert reason == "split"
    users = {(e.session, e.user) for e in running.service.exposures()}
    assert len(users) == len({session for session, _ in users}) > 12


def test_a_label_without_images_is_told(play: Play, running: Running) -> None:
    done = play(SCENARIO | {"photographs": [{"shares": {"cat": 0.5, "koala": 0.5}}]})
    assert (done.code, done.err) == (
        1,
        "Error: photographs names koala: there are images of cat, dog",
    )


@pytest.mark.parametrize("option", ["--users", "--regions"])
def test_what_the_scenario_says_is_no_option(play: Play, option: str) -> None:
    done = play(SCENARIO, option, 5)
    assert done.code == 2
    assert option in done.err


def test_a_bad_scenario_is_told_before_the_service_is_asked(play: Play) -> None:
    assert play(SCENARIO | {"users": 0}).err.startswith("Error: users is rejected")


def test_feedback_that_is_not_kept_is_counted(play: Play, running: Running) -> None:
    """The service is asked the same again later; the command says that it failed."""

    async def full(_: object) -> None:
        raise OSError("full")

    running.service.desk.accept = full  # type: ignore[method-assign, assignment]
    done = play(SCENARIO | {"requests": 5, "feedback": ALWAYS})
    assert done.code == 1
    assert "feedback: 0 acknowledged, 0 rejected, 5 failed" in done.out
    assert done.err.startswith("5 x feedback, 503: ")


def test_feedback_that_is_rejected_is_counted(play: Play, serve: Serve) -> None:
    async def rule(_: Request) -> JSONResponse:
        return JSONResponse({})

    async def answer(_: Request) -> JSONResponse:
        content = {"prediction_id": "p", "label": "cat", "reason": "static", "version": "v1"}
        return JSONResponse(content)

    async def reject(_: Request) -> JSONResponse:
        return JSONResponse({"detail": "never given out"}, 404)

    routes = [
        Route("/v1/rule", rule),
        Route("/v1/classify", answer, methods=["POST"]),
        Route("/v1/feedback", reject, methods=["POST"]),
    ]
    serve(Starlette(routes=routes))
    done = play(SCENARIO | {"requests": 5, "feedback": ALWAYS}, "--json")
    assert done.code == 1
    assert json.loads(done.out)["feedback"] == {
        "acknowledged": 0,
        "rejected": 5,
        "failed": 0,
        "failures": {"404: never given out": 5},
    }


def test_a_service_that_cannot_explain_ends_the_play(
    play: Play, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.service.try_out(**BY_USER)

    def away(*_: object) -> None:
        raise NotReady("just gone")

    monkeypatch.setattr(running.service.plane, "plan", away)
    done = play(SCENARIO | {"lost": {"v2": 0.5}})
    assert (done.code, done.err) == (1, "Error: just gone (HTTP 503)")
