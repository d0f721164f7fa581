from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from serve_app.cli import sending
from serve_app.cli.sending import Progress
from serve_app.errors import Busy
from serve_app.traffic import availability
from serve_app.traffic import images as traffic_images
from tests.unit.cli.conftest import Command, RunningService, Serve, interrupt_first_request
from tests.unit.service import AB, image


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for label in ("cat", "dog"):
        folder = tmp_path / "images" / label
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(image(label))
    return tmp_path / "images"


def test_every_request_is_counted(command: Command, running: RunningService, images: Path) -> None:
    result = command("traffic", "--requests", 30, "--users", 5, "--images", images, "--json")
    assert (result.code, result.err) == (0, "")
    summary = json.loads(result.out)
    assert (summary["requests"], summary["failed"], summary["failures"]) == (30, 0, {})
    (group,) = summary["answers"]
    assert (group["version"], group["reason"], group["requests"]) == ("v1", "static", 30)
    assert group["right"] == 30
    assert sum(group["labels"].values()) == 30
    assert summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"]


def test_the_url_may_end_with_a_slash(
    command: Command, running: RunningService, images: Path
) -> None:
    url = os.environ["SERVE_APP_URL"]
    options = ["--requests", "5", "--images", images, "--url", f"{url}/"]
    assert command("traffic", *options).code == 0


def test_each_user_lives_in_one_region(
    command: Command, running: RunningService, images: Path
) -> None:
    options = ["--requests", "40", "--users", "4", "--regions", "AU, nz", "--images", images]
    assert command("traffic", *options).code == 0
    exposures = running.service.exposures()
    assert len(exposures) == 40
    homes = {(exposure.user, exposure.region) for exposure in exposures}
    assert {region for _, region in homes} <= {"AU", "NZ"}
    assert len(homes) == len({user for user, _ in homes}) <= 4


def test_the_same_seed_sends_the_same_requests(
    command: Command, running: RunningService, images: Path
) -> None:
    options = ["--requests", "15", "--clients", "1", "--images", images, "--seed"]
    for seed in ("5", "5", "6"):
        assert command("traffic", *options, seed).code == 0
    drawn = [(e.user, e.region, e.label) for e in running.service.exposures()]
    assert drawn[:15] == drawn[15:30]
    assert drawn[:15] != drawn[30:]


def test_failures_are_counted_by_their_detail(
    command: Command, running: RunningService, images: Path
) -> None:
    running.service.pools.next_results += [Busy("full")] * 3
    result = command("traffic", "--requests", 10, "--images", images)
    assert result.code == 1
    assert result.err == "3 x 429: full\n"
    assert "10 requests in" in result.out
    assert "3 failed" in result.out


def test_an_error_text_of_the_proxy_is_a_failure(
    command: Command, serve: Serve, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example during a recreation."""
    monkeypatch.setattr(availability, "FIRST_WAIT_S", 0.001)

    async def rule(_: Request) -> JSONResponse:
        return JSONResponse({})

    async def not_found(_: Request) -> PlainTextResponse:
        return PlainTextResponse("Path '/v1/classify' not found.", 404)

    serve(
        Starlette(
            routes=[Route("/v1/rule", rule), Route("/v1/classify", not_found, methods=["POST"])]
        )
    )
    result = command("traffic", "--requests", 4, "--images", images, "--json")
    assert result.code == 1
    summary = json.loads(result.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert summary["failures"] == {"404: Path '/v1/classify' not found.": 4}
    assert summary["latency_ms"] == {"p50": None, "p95": None, "p99": None}
    assert summary["unavailable_seconds"] > 0
    assert "p50 -, p95 -" in command("traffic", "--requests", 1, "--images", images).out


def test_a_service_that_does_not_come_back_ends_the_traffic(
    command: Command, serve: Serve, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(availability, "GIVE_UP_S", 0.01)

    async def rule(_: Request) -> JSONResponse:
        return JSONResponse({})

    serve(Starlette(routes=[Route("/v1/rule", rule)]))
    result = command("traffic", "--requests", 1000, "--images", images)
    assert result.code == 1
    assert "stopped: the service did not come back" in result.out


def test_users_say_what_images_show(
    command: Command, running: RunningService, images: Path
) -> None:
    options = ["--requests", "100", "--images", images]
    assert "feedback: " in command("traffic", *options).out
    feedback = running.service.feedback()
    assert 10 <= len(feedback) <= 50
    assert {entry.label for entry in feedback} == {"cat", "dog"}
    command("traffic", *options, "--feedback", "0")
    assert len(running.service.feedback()) == len(feedback)


def test_a_planted_effect_is_what_users_complain_of(
    command: Command, running: RunningService, images: Path
) -> None:
    running.service.apply_rule_with_candidate(**AB | {"unit": "user"})
    options = ["--requests", "300", "--feedback", "1", "--complain", "v2=0.6", "--images", images]
    assert command("traffic", *options).code == 0
    complaints = Counter((f.assigned, f.complaint) for f in running.service.feedback())
    assert complaints["v2", True] > complaints["v2", False]
    assert complaints["v1", True] < complaints["v1", False]


@pytest.mark.parametrize("text", ["v2", "v2=", "v2=much", "second=0.1", "v2=0.9", "v2=nan"])
def test_a_malformed_planted_effect_is_a_usage_error(command: Command, text: str) -> None:
    result = command("traffic", "--complain", text)
    assert result.code == 2
    assert "--complain" in result.err


def test_users_without_feedback_cannot_have_a_planted_effect(command: Command) -> None:
    assert command("traffic", "--complain", "v2=0.1", "--feedback", "0").code == 2


@pytest.mark.parametrize("text", ["", "0s", "-1s", "30", "soon", "1e3s"])
def test_a_malformed_duration_is_a_usage_error(command: Command, text: str) -> None:
    result = command("traffic", "--duration", text)
    assert result.code == 2
    assert "--duration" in result.err


def test_a_duration_ends_the_traffic(
    command: Command, running: RunningService, images: Path
) -> None:
    options = ["--duration", "1s", "--rate", "40", "--images", images, "--json"]
    result = command("traffic", *options)
    assert (result.code, result.err) == (0, "")
    summary = json.loads(result.out)
    assert 1 <= summary["requests"] <= 41
    assert summary["rate"]["per_second"] == 40
    assert summary["rate"]["late_ms"] >= 0


def test_ctrl_c_ends_the_traffic_with_a_summary(
    command: Command, running: RunningService, images: Path
) -> None:
    """The signal comes during the first request."""
    interrupt_first_request(running)
    result = command("traffic", "--requests", 100_000, "--images", images, "--json")
    assert result.code == 130
    summary = json.loads(result.out)
    assert summary["interrupted"]
    assert summary["requests"] < 100_000
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (
            Progress(1000, None, 200, 3, started_s=0),
            "200 of 1,000 requests, 20/s, 3 failed, about 0:40 left",
        ),
        (Progress(None, 30, 200, 0, started_s=0), "200 requests, 20/s, 0 failed, about 0:20 left"),
        (Progress(1000, None, 0, 0, started_s=0), "0 of 1,000 requests, 0/s, 0 failed"),
        (
            Progress(10, 60, 5, 9, "503: not ready", 0),
            "5 of 10 requests, 0/s, 9 failed, about 0:10 left, 503: not ready",
        ),
    ],
)
def test_progress_has_counts_and_the_time_left(progress: Progress, line: str) -> None:
    assert progress.line(now_s=10) == line


def test_progress_is_logged_without_a_terminal(
    command: Command, running: RunningService, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "LOG_PERIOD_S", 0.05)
    options = ["--duration", "1s", "--rate", "20", "--images", images]
    lines = command("traffic", *options).err.splitlines()
    assert lines
    assert all(re.match(r"0:0\d  \d+ requests, \d+/s, 0 failed", line) for line in lines)


@pytest.mark.parametrize("regions", ["", ",", "Mars", "AU,XX"])
def test_an_unknown_country_is_a_usage_error(command: Command, regions: str) -> None:
    result = command("traffic", "--regions", regions)
    assert result.code == 2
    assert "--regions" in result.err


def test_a_missing_image_folder_is_a_one_line_error(
    command: Command, running: RunningService, tmp_path: Path
) -> None:
    result = command("traffic", "--images", tmp_path / "none")
    assert result.code == 1
    assert result.err.startswith(f"Error: {tmp_path}/none is not a folder")


def test_synthetic_images_have_all_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_images, "IMAGES_PER_LABEL", 3)
    drawn = traffic_images.synthetic_images(seed=3)
    assert {(image.true_label, image.media_type) for image in drawn} == {
        (label, "image/png") for label in ("cat", "dog", "koala")
    }
    assert len({image.data for image in drawn}) == len(drawn) == 9
