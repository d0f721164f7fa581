from __future__ import annotations

import json
from pathlib import Path

import pytest

from serve_app.recording.records import Exposure
from serve_app.rules.parse import read_rule
from tests.unit.cli.conftest import Command, RunningService
from tests.unit.service import AB, image


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = []
    for label, kind in (("cat", "png"), ("dog", "jpeg"), ("koala", "webp")):
        paths.append(tmp_path / f"{label}.{kind}")
        paths[-1].write_bytes(image(label, kind=kind.upper()))
    return paths


def exposures(running: RunningService) -> list[Exposure]:
    return running.service.exposures()


def test_each_image_has_a_row(
    command: Command, running: RunningService, images: list[Path]
) -> None:
    result = command("classify", *images)
    assert (result.code, result.err) == (0, "")
    head, *lines = result.out.splitlines()
    assert head.split() == ["image", "label", "confidence", "version", "reason", "ms"]
    assert [line.split()[0] for line in lines] == [str(image) for image in images]
    assert [line.split()[1] for line in lines][:2] == ["cat", "dog"]


def test_json_is_the_prediction(
    command: Command, running: RunningService, images: list[Path]
) -> None:
    result = command("classify", images[0], "--json")
    (prediction,) = json.loads(result.out)
    assert (prediction["image"], prediction["label"], prediction["version"]) == (
        str(images[0]),
        "cat",
        "v1",
    )
    assert running.service.id_codec.decode(prediction["prediction_id"]).version == "v1"


def test_options_are_sent_as_headers(
    command: Command, running: RunningService, images: list[Path]
) -> None:
    running.service.apply_rule(allow_pin=True)
    options = ["--user", "anna", "--session", "s-1", "--region", "au", "--canary", "never"]
    assert command("classify", images[2], *options, "--version", "v2").code == 0
    (exposure,) = exposures(running)
    unit = running.service.pseudonymizer.pseudonym
    assert (exposure.user, exposure.session, exposure.region, exposure.reason) == (
        unit("anna"),
        unit("s-1"),
        "AU",
        "pinned",
    )
    assert (exposure.served, exposure.label) == ("v2", "koala")


def test_a_user_id_may_have_any_characters(
    command: Command, running: RunningService, images: list[Path]
) -> None:
    assert command("classify", images[0], "--user", "Zoë 小熊").code == 0
    assert exposures(running)[0].user is not None


def test_a_rule_that_hides_versions_shows_none(
    command: Command, running: RunningService, images: list[Path]
) -> None:
    running.service.apply_rule(reveal_version=False)
    assert command("classify", images[0]).out.splitlines()[1].split()[3] == "-"


def test_images_that_fail_are_reported_and_the_others_classified(
    command: Command, running: RunningService, images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "note.png").write_text("no image")
    (tmp_path / "note.txt").write_text("no image")
    bad = [tmp_path / "note.png", tmp_path / "note.txt", tmp_path / "none.png"]
    result = command("classify", *bad, images[0])
    assert result.code == 1
    assert len(result.out.splitlines()) == 2
    errors = result.err.splitlines()
    assert [line.partition(":")[0] for line in errors] == [str(path) for path in bad]
    assert errors[0].endswith("(HTTP 422)")
    assert errors[1].endswith("(HTTP 415)")
    assert "No such file" in errors[2]


def test_json_has_the_error_of_an_image_that_fails(
    command: Command, running: RunningService, images: list[Path], tmp_path: Path
) -> None:
    result = command("classify", tmp_path / "none.png", images[0], "--json")
    assert result.code == 1
    assert ["error" in prediction for prediction in json.loads(result.out)] == [True, False]


def test_an_unknown_tag_is_a_usage_error(command: Command, images: list[Path]) -> None:
    result = command("classify", images[0], "--canary", "perhaps")
    assert result.code == 2
    assert "--canary" in result.err


@pytest.mark.parametrize(
    ("region", "note"),
    [
        (
            "Germany",
            "Note: --region is 'Germany': expected the code of a country (ISO 3166-1 alpha-2)",
        ),
        ("XX", "Note: --region is 'XX': expected the code of a country"),
        ("DE", "Note: DE is in none of the rule's regions: australia-pacific"),
        ("nz", ""),
    ],
)
def test_a_region_without_effect_is_noted(
    command: Command, running: RunningService, images: list[Path], region: str, note: str
) -> None:
    running.service.plane.apply_rule(read_rule(AB | {"regions": ["australia-pacific"]}))
    result = command("classify", images[0], "--region", region)
    assert result.code == 0
    assert result.err.startswith(note)
    assert bool(result.err) == bool(note)


def test_a_folder_is_no_image(
    command: Command, running: RunningService, images: list[Path], tmp_path: Path
) -> None:
    result = command("classify", tmp_path, images[0], tmp_path / "none.png")
    assert result.code == 1
    assert result.err.splitlines() == [
        f"{tmp_path}: cannot be read: Is a directory",
        f"{tmp_path / 'none.png'}: cannot be read: No such file or directory",
    ]
    assert str(images[0]) in result.out
