from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command, Running
from tests.unit.reviews import Reviews


@pytest.fixture
def reviews(running: Running, tmp_path: Path) -> Iterator[Reviews]:
    """Images that wait, by their numbers."""
    running.controller.reviews = Reviews(tmp_path)
    yield running.controller.reviews
    running.controller.reviews.close()


def test_images_that_wait_are_listed_without_what_was_said(
    command: Command, running: Running, reviews: Reviews
) -> None:
    ids = reviews.keep(1, 2, 3)
    done = command("review", "list")
    assert (done.code, done.err) == (0, "")
    head, *rows, last = done.out.splitlines()
    assert head.split() == ["image", "when", "region"]
    assert sorted(row.split()[0] for row in rows) == sorted(ids)
    assert not any(word in done.out for word in ("v1", "v2", "koala", "agree"))
    assert last == f"3 wait; {running.url}/control/review shows them"


def test_as_many_are_listed_as_asked(command: Command, reviews: Reviews) -> None:
    reviews.keep(1, 2, 3)
    assert len(command("review", "list", "--limit", 2).out.splitlines()) == 4
    assert command("review", "list", "--limit", 0).code == 2


def test_an_answer_is_kept_and_what_the_versions_said_is_told(
    command: Command, reviews: Reviews
) -> None:
    (one,) = reviews.keep(1)
    done = command("review", "answer", one, "koala", "--reason", "[round] ears")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == ["v1 said dog, wrong", "v2 said koala, right"]
    _, row, last = command("review", "list", "--reviewed").out.splitlines()
    kind = ["disagreement", "v1", "dog", "v2", "koala", "koala", getpass.getuser()]
    assert row.split()[-7:] == kind
    assert last.startswith("0 wait")
    (image,) = reviews.store.reviewed(limit=1)
    assert image.review
    assert image.review.reason == "[round] ears"


def test_where_nobody_can_tell_nobody_is_right(command: Command, reviews: Reviews) -> None:
    (one,) = reviews.keep(1)
    done = command("review", "answer", one, "cannot_tell")
    assert done.out.splitlines() == ["v1 said dog", "v2 said koala"]


def test_as_json_it_is_what_the_service_answers(command: Command, reviews: Reviews) -> None:
    (one,) = reviews.keep(2)
    (listed,) = json.loads(command("review", "list", "--json").out)["disagreements"]
    assert (listed["id"], listed["reviewed"]) == (one, False)
    told = json.loads(command("review", "answer", one, "cat", "--json").out)
    assert (told["kind"], told["stable"]["label"]) == ("disagreement", "cat")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("0123456789ab-1", "wombat"), "the answer is 'wombat': expected one of cat, dog, koala"),
        (("0123456789ab-9", "cat"), "the image 0123456789ab-9 is not kept"),
        (("nonsense", "cat"), "path.image_id"),
    ],
)
def test_what_is_rejected_is_told(
    command: Command, reviews: Reviews, arguments: tuple[str, str], error: str
) -> None:
    reviews.keep(1)
    done = command("review", "answer", *arguments)
    assert done.code == 1
    assert done.err.startswith(f"Error: {error}")
