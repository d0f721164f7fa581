"""Blind review over HTTP, down to the database file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.clock import now_ms
from serve_app.http.control_plane import application
from serve_app.http.session import Authenticator
from serve_app.privacy.image_cipher import ImageCipher
from tests.unit.http.test_control_plane import BEARER, TOKEN, Console, FakeController
from tests.unit.http.test_control_plane import nothing_beside as beside
from tests.unit.reviews import JPEG, SAID, Reviews

ANSWERS = ["cat", "dog", "koala", "other", "cannot_tell"]
ANNA = {"actor": "anna"}


class Plane(Reviews, FakeController):
    """The images are real."""

    def __init__(self, folder: Path) -> None:
        FakeController.__init__(self)
        Reviews.__init__(self, folder)


class Desk(Console):
    def __init__(self, plane: Plane) -> None:
        super().__init__()
        self.app = application(plane, Authenticator(TOKEN), self.traces.append, beside)

    def get(self, path: str) -> httpx.Response:
        return self.ask("GET", f"/disagreements{path}", headers=BEARER)

    def review(self, image_id: str, answer: str, **headers: str) -> httpx.Response:
        path = f"/disagreements/{image_id}/review"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, json=ANNA | {"answer": answer}, headers=BEARER | named)


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    plane = Plane(tmp_path)
    yield plane
    plane.close()


@pytest.fixture
def desk(plane: Plane) -> Desk:
    return Desk(plane)


def leaves(content: dict[str, Any]) -> list[Any]:
    """Everything in an answer that is no list or object."""
    if isinstance(content, dict):
        return [leaf for value in content.values() for leaf in leaves(value)]
    if isinstance(content, list):
        return [leaf for value in content for leaf in leaves(value)]
    return [content]


class TestBeforeTheReview:
    def test_images_wait_with_what_may_be_said_of_them(self, plane: Plane, desk: Desk) -> None:
        ids = plane.keep(1, 2, 3)
        answer = desk.get("").json()
        assert answer["waiting"] == 3
        assert {one["id"] for one in answer["disagreements"]} == set(ids)
        for one in answer["disagreements"]:
            assert (one["answers"], one["reviewed"]) == (ANSWERS, False)
            assert desk.get(f"/{one['id']}").json() == one

    def test_nothing_tells_what_the_versions_said_nor_whether_they_agree(
        self, plane: Plane, desk: Desk
    ) -> None:
        """Two images look alike but for id and time, whatever was said of them."""
        plane.keep(*SAID)
        shown = desk.get("").json()["disagreements"]
        varying = {"id", "at_ms", "expires_at_ms"}
        kinds = [{key: one[key] for key in one.keys() - varying} for one in shown]
        assert kinds == [{"answers": ANSWERS, "reviewed": False}] * 4
        assert not {"v1", "v2", "agreement", "disagreement"} & set(map(str, leaves(shown[0])))

    def test_a_list_is_as_long_as_asked(self, plane: Plane, desk: Desk) -> None:
        plane.keep(*SAID)
        every = [one["id"] for one in desk.get("").json()["disagreements"]]
        answer = desk.get("?limit=2").json()
        assert [one["id"] for one in answer["disagreements"]] == every[:2]
        assert answer["waiting"] == 4
        for limit in ("0", "1001", "x"):
            assert desk.get(f"?limit={limit}").json()["code"] == "bad_parameter"

    def test_the_image_is_shown_and_kept_nowhere(self, plane: Plane, desk: Desk) -> None:
        (one,) = plane.keep(1)
        answer = desk.get(f"/{one}/image")
        assert (answer.content, answer.headers["content-type"]) == (JPEG, "image/jpeg")
        assert answer.headers["cache-control"] == "no-store"

    def test_at_rest_nothing_of_it_can_be_read(self, plane: Plane, tmp_path: Path) -> None:
        plane.keep(1, 2)
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"kept_images" in files
        assert JPEG[:4] not in files
        assert JPEG[4:-2] not in files

    @pytest.mark.parametrize("path", ["/0123456789ab-9", "/0123456789ab-9/image"])
    def test_what_is_not_kept_is_told(self, plane: Plane, desk: Desk, path: str) -> None:
        plane.keep(1)
        answer = desk.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_image")

    @pytest.mark.parametrize("name", ["x", "0123456789ab", "0123456789ab-0", "0123456789ab-1 "])
    def test_what_is_no_id_is_told(self, desk: Desk, name: str) -> None:
        assert desk.get(f"/{name}").json()["code"] == "bad_parameter"

    def test_after_its_time_nobody_sees_it_or_says_what_it_shows(
        self, plane: Plane, desk: Desk
    ) -> None:
        (one,) = plane.keep(1, expires_at_ms=now_ms() - 1)
        for answer in (desk.get(f"/{one}"), desk.get(f"/{one}/image"), desk.review(one, "cat")):
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_image")
        assert desk.get("").json() == {"waiting": 0, "disagreements": []}

    def test_one_that_another_key_sealed_is_told(self, plane: Plane, desk: Desk) -> None:
        (one,) = plane.keep(1, encrypted=ImageCipher(bytes(32)).encrypt(JPEG))
        answer = desk.get(f"/{one}/image")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_image")
        assert "another image.key" in answer.json()["detail"]


class TestTheReview:
    def test_what_the_versions_said_is_told_afterwards(self, plane: Plane, desk: Desk) -> None:
        (one,) = plane.keep(2)
        answer = desk.review(one, "koala")
        content = answer.json()
        assert (answer.status_code, content["kind"], content["probability"]) == (
            200,
            "disagreement",
            0.5,
        )
        assert content["stable"] == {"version": "v1", "label": "cat"}
        assert content["candidate"] == {"version": "v2", "label": "koala"}
        assert (
            content["review"].items() >= {"answer": "koala", "actor": "anna", "reason": ""}.items()
        )
        assert desk.get(f"/{one}").json() == content
        assert desk.get("").json()["waiting"] == 0
        assert desk.get("?reviewed=true").json()["disagreements"] == [content]

    def test_an_agreement_is_called_so_afterwards(self, plane: Plane, desk: Desk) -> None:
        (one,) = plane.keep(3)
        assert desk.review(one, "dog").json()["kind"] == "agreement"

    @pytest.mark.parametrize("answer", ANSWERS)
    def test_every_answer_that_was_offered_is_taken(
        self, plane: Plane, desk: Desk, answer: str
    ) -> None:
        (one,) = plane.keep(1)
        assert desk.review(one, answer).json()["review"]["answer"] == answer

    @pytest.mark.parametrize("answer", ["wombat", "Koala", "other ", "agreement"])
    def test_another_is_rejected_with_those_that_there_are(
        self, plane: Plane, desk: Desk, answer: str
    ) -> None:
        (one,) = plane.keep(1)
        rejected = desk.review(one, answer)
        assert (rejected.status_code, rejected.json()["code"]) == (422, "bad_review")
        assert "expected one of cat, dog, koala, other, cannot_tell" in rejected.json()["detail"]
        assert desk.get("").json()["waiting"] == 1

    @pytest.mark.parametrize(
        "body",
        [
            {"actor": "anna"},
            {"answer": "cat"},
            {"answer": "cat", "actor": ""},
            {"answer": "cat", "actor": "anna", "force": True},
            {"answer": "cat\n", "actor": "anna"},
            {"answer": 7, "actor": "anna"},
        ],
    )
    def test_an_impossible_body_is_told(
        self, plane: Plane, desk: Desk, body: dict[str, Any]
    ) -> None:
        (one,) = plane.keep(1)
        path = f"/disagreements/{one}/review"
        assert desk.ask("POST", path, json=body, headers=BEARER).json()["code"] == "bad_parameter"
        assert desk.get("").json()["waiting"] == 1

    def test_the_first_answer_stays(self, plane: Plane, desk: Desk) -> None:
        """Whoever answered has seen what the versions said."""
        (one,) = plane.keep(1)
        first = desk.review(one, "koala").json()
        for answer in ("koala", "dog"):
            rejected = desk.review(one, answer)
            assert (rejected.status_code, rejected.json()["code"]) == (409, "already_reviewed")
            assert "anna has said 'koala'" in rejected.json()["detail"]
        assert desk.get(f"/{one}").json() == first

    def test_under_a_key_it_is_answered_again(self, plane: Plane, desk: Desk) -> None:
        one, other = plane.keep(1, 2)
        first = desk.review(one, "koala", idempotency_key="k-1")
        assert desk.review(one, "koala", idempotency_key="k-1").json() == first.json()
        assert desk.review(other, "koala", idempotency_key="k-1").status_code == 422
        assert desk.get("").json()["waiting"] == 1
