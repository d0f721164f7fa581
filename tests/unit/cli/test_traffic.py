from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from serve_app.errors import Busy
from serve_app.traffic import images as traffic_images
from tests.unit.cli.conftest import Command, RunningService, Serve
from tests.unit.service import image


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
    command: Command, serve: Serve, images: Path
) -> None:
    """For example during a recreation."""

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
    assert "p50 -, p95 -" in command("traffic", "--requests", 1, "--images", images).out


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
