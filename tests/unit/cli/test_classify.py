from __future__ import annotations

import json
from pathlib import Path

import pytest

from serve_app.domain import Exposure
from tests.unit.cli.conftest import Command, Running
from tests.unit.service import image


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = []
    for label, kind in (("cat", "png"), ("dog", "jpeg"), ("koala", "webp")):
        paths.append(tmp_path / f"{label}.{kind}")
        paths[-1].write_bytes(image(label, kind=kind.upper()))
    return paths


def exposures(running: Running) -> list[Exposure]:
    return running.service.exposures()


def test_each_photograph_gets_a_line(
    command: Command, running: Running, images: list[Path]
) -> None:
    done = command("classify", *images)
    assert (done.code, done.err) == (0, "")
    head, *lines = done.out.splitlines()
    assert head.split() == ["image", "label", "confidence", "version", "reason", "ms"]
    assert [line.split()[0] for line in lines] == [str(image) for image in images]
    assert [line.split()[1] for line in lines][:2] == ["cat", "dog"]


def test_as_json_the_whole_answer_is_printed(
    command: Command, running: Running, images: list[Path]
) -> None:
    done = command("classify", images[0], "--json")
    (answer,) = json.loads(done.out)
    assert (answer["image"], answer["label"], answer["version"]) == (str(images[0]), "cat", "v1")
    assert running.service.id_codec.decode(answer["prediction_id"]).version == "v1"


def test_options_become_the_headers_that_say_who_asks(
    command: Command, running: Running, images: list[Path]
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


def test_a_user_may_have_any_name(command: Command, running: Running, images: list[Path]) -> None:
    assert command("classify", images[0], "--user", "Zoë 小熊").code == 0
    assert exposures(running)[0].user is not None


def test_a_blind_rule_shows_no_version(
    command: Command, running: Running, images: list[Path]
) -> None:
    running.service.apply_rule(reveal_version=False)
    assert command("classify", images[0]).out.splitlines()[1].split()[3] == "-"


def test_what_cannot_be_answered_is_told_and_the_others_are(
    command: Command, running: Running, images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "note.png").write_text("no image")
    (tmp_path / "note.txt").write_text("no image")
    bad = [tmp_path / "note.png", tmp_path / "note.txt", tmp_path / "none.png"]
    done = command("classify", *bad, images[0])
    assert done.code == 1
    assert len(done.out.splitlines()) == 2
    told = done.err.splitlines()
    assert [line.partition(":")[0] for line in told] == [str(path) for path in bad]
    assert told[0].endswith("(HTTP 422)")
    assert told[1].endswith("(HTTP 415)")
    assert "No such file" in told[2]


def test_as_json_what_cannot_be_answered_stands_among_the_answers(
    command: Command, running: Running, images: list[Path], tmp_path: Path
) -> None:
    done = command("classify", tmp_path / "none.png", images[0], "--json")
    assert done.code == 1
    assert ["error" in answer for answer in json.loads(done.out)] == [True, False]


def test_a_tag_that_does_not_exist_is_a_usage_error(command: Command, images: list[Path]) -> None:
    done = command("classify", images[0], "--canary", "perhaps")
    assert done.code == 2
    assert "--canary" in done.err
