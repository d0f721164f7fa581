from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest

from serve_app.home import Home
from tests.unit.cli.conftest import Command, RunningService
from tests.unit.reviews import LocalReviews


@pytest.fixture
def reviews(running: RunningService, home: Home) -> LocalReviews:
    """The reviews of the running service."""
    return LocalReviews(home, running.control.store)


def test_waiting_images_are_listed_without_predictions(
    command: Command, running: RunningService, reviews: LocalReviews
) -> None:
    ids = reviews.keep_images(1, 2, 3)
    result = command("review", "list")
    assert (result.code, result.err) == (0, "")
    head, *rows, last = result.out.splitlines()
    assert head.split() == ["image", "time"]
    assert sorted(row.split()[0] for row in rows) == sorted(ids)
    assert not any(word in result.out for word in ("v1", "v2", "koala", "agree"))
    assert last == f"3 listed, 3 waiting: {running.url}/control/review shows them"


def test_limit_bounds_the_list(command: Command, reviews: LocalReviews) -> None:
    reviews.keep_images(1, 2, 3)
    assert len(command("review", "list", "--limit", 2).out.splitlines()) == 4
    assert "2 listed, 3 waiting" in command("review", "list", "--limit", 2).out
    assert command("review", "list", "--limit", 0).code == 2


def test_an_answer_is_stored_and_shows_the_predictions(
    command: Command, reviews: LocalReviews
) -> None:
    (one,) = reviews.keep_images(1)
    result = command("review", "answer", one, "koala", "--reason", "[round] ears")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == ["v1 predicted dog (wrong)", "v2 predicted koala (right)"]
    _, row, last = command("review", "list", "--reviewed").out.splitlines()
    kind = ["disagreement", "v1", "dog", "v2", "koala", "koala", getpass.getuser()]
    assert row.split()[-7:] == kind
    assert last.startswith("0 waiting")
    (image,) = reviews.store.reviewed_images(limit=1)
    assert image.review
    assert image.review.reason == "[round] ears"


def test_cannot_tell_rates_no_prediction(command: Command, reviews: LocalReviews) -> None:
    (one,) = reviews.keep_images(1)
    result = command("review", "answer", one, "cannot_tell")
    assert result.out.splitlines() == ["v1 predicted dog", "v2 predicted koala"]


def test_json_is_the_response(command: Command, reviews: LocalReviews) -> None:
    (one,) = reviews.keep_images(2)
    (listed,) = json.loads(command("review", "list", "--json").out)["images"]
    assert (listed["id"], listed["reviewed"]) == (one, False)
    review = json.loads(command("review", "answer", one, "cat", "--json").out)
    assert (review["kind"], review["stable"]["label"]) == ("disagreement", "cat")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("0123456789ab-1", "wombat"), "the answer is 'wombat': expected one of cat, dog, koala"),
        (("0123456789ab-9", "cat"), "the image 0123456789ab-9 is not kept"),
    ],
)
def test_a_rejected_answer_is_an_error(
    command: Command, reviews: LocalReviews, arguments: tuple[str, str], error: str
) -> None:
    reviews.keep_images(1)
    result = command("review", "answer", *arguments)
    assert result.code == 1
    assert result.err.startswith(f"Error: {error}")


@pytest.mark.parametrize("arguments", [("answer", "nonsense", "cat"), ("show", "nonsense")])
def test_an_id_of_another_form_is_a_usage_error(
    command: Command, home: Home, arguments: tuple[str, ...]
) -> None:
    result = command("review", *arguments)
    assert (result.code, "review list" in result.err) == (2, True)


def test_an_image_is_saved_without_the_predictions(
    command: Command, reviews: LocalReviews, tmp_path: Path
) -> None:
    (one,) = reviews.keep_images(1)
    path = tmp_path / "one.jpg"
    result = command("review", "show", one, "--save", path)
    assert (result.code, result.err) == (0, "")
    assert path.read_bytes().startswith(b"\xff\xd8")
    assert result.out.splitlines()[-1] == f"{path}: {path.stat().st_size} bytes"
    assert not any(word in result.out for word in ("v1", "v2", "disagreement"))
    assert command("review", "show", one, "--save", path).code == 2
    assert command("review", "show", one, "--save", path, "--force").code == 0


def test_a_reviewed_image_is_shown_with_the_predictions(
    command: Command, reviews: LocalReviews
) -> None:
    (one,) = reviews.keep_images(1)
    command("review", "answer", one, "koala")
    shown = dict(line.split(maxsplit=1) for line in command("review", "show", one).out.splitlines())
    assert (shown["stable"].strip(), shown["candidate"].strip()) == ("v1 dog", "v2 koala")
    assert json.loads(command("review", "show", one, "--json").out)["reviewed"] is True
