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
from tests.unit.http.test_control_plane import (
    BEARER,
    TOKEN,
    ControlApp,
    RecordingControlPlane,
    empty_lifespan,
)
from tests.unit.reviews import JPEG, PREDICTIONS, LocalReviews

ANSWERS = ["cat", "dog", "koala", "other", "cannot_tell"]
ANNA = {"actor": "anna"}


class ReviewControlPlane(LocalReviews, RecordingControlPlane):
    """A control plane whose reviews are in a real store."""

    def __init__(self, folder: Path) -> None:
        RecordingControlPlane.__init__(self)
        LocalReviews.__init__(self, folder)


class ReviewApp(ControlApp):
    """The application of the control plane, with requests for reviews."""

    def __init__(self, plane: ReviewControlPlane) -> None:
        super().__init__()
        self.app = application(plane, Authenticator(TOKEN), self.traces.append, empty_lifespan)

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", f"/reviews{path}", headers=BEARER)

    def add_review(self, image_id: str, answer: str, **headers: str) -> httpx.Response:
        path = f"/reviews/{image_id}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", path, json=ANNA | {"answer": answer}, headers=BEARER | named)


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ReviewControlPlane]:
    plane = ReviewControlPlane(tmp_path)
    yield plane
    plane.close()


@pytest.fixture
def app(plane: ReviewControlPlane) -> ReviewApp:
    return ReviewApp(plane)


def leaves(content: dict[str, Any]) -> list[Any]:
    """All values of a JSON document that are neither lists nor objects."""
    if isinstance(content, dict):
        return [leaf for value in content.values() for leaf in leaves(value)]
    if isinstance(content, list):
        return [leaf for value in content for leaf in leaves(value)]
    return [content]


class TestUnreviewedImages:
    def test_images_are_listed_with_their_possible_answers(
        self, plane: ReviewControlPlane, app: ReviewApp
    ) -> None:
        ids = plane.keep_images(1, 2, 3)
        listed = app.get("").json()
        assert listed["waiting"] == 3
        assert {one["id"] for one in listed["images"]} == set(ids)
        for one in listed["images"]:
            assert (one["answers"], one["reviewed"]) == (ANSWERS, False)
            assert app.get(f"/{one['id']}").json() == one

    def test_predictions_are_hidden_before_the_review(
        self, plane: ReviewControlPlane, app: ReviewApp
    ) -> None:
        """Images differ only in id and times, whatever their predictions are."""
        plane.keep_images(*PREDICTIONS)
        shown = app.get("").json()["images"]
        varying = {"id", "at_ms", "expires_at_ms"}
        kinds = [{key: one[key] for key in one.keys() - varying} for one in shown]
        assert kinds == [{"answers": ANSWERS, "reviewed": False}] * 4
        assert not {"v1", "v2", "agreement", "disagreement"} & set(map(str, leaves(shown[0])))

    def test_the_list_has_at_most_limit_images(
        self, plane: ReviewControlPlane, app: ReviewApp
    ) -> None:
        plane.keep_images(*PREDICTIONS)
        all_ids = [one["id"] for one in app.get("").json()["images"]]
        listed = app.get("?limit=2").json()
        assert [one["id"] for one in listed["images"]] == all_ids[:2]
        assert listed["waiting"] == 4
        for limit in ("0", "1001", "x"):
            assert app.get(f"?limit={limit}").json()["code"] == "bad_parameter"

    def test_the_image_is_sent_as_jpeg_and_not_cached(
        self, plane: ReviewControlPlane, app: ReviewApp
    ) -> None:
        (one,) = plane.keep_images(1)
        response = app.get(f"/{one}/image")
        assert (response.content, response.headers["content-type"]) == (JPEG, "image/jpeg")
        assert response.headers["cache-control"] == "no-store"

    def test_stored_images_are_encrypted(self, plane: ReviewControlPlane, tmp_path: Path) -> None:
        plane.keep_images(1, 2)
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"kept_images" in files
        assert JPEG[:4] not in files
        assert JPEG[4:-2] not in files

    @pytest.mark.parametrize("path", ["/0123456789ab-9", "/0123456789ab-9/image"])
    def test_an_unknown_image_is_not_found(
        self, plane: ReviewControlPlane, app: ReviewApp, path: str
    ) -> None:
        plane.keep_images(1)
        response = app.get(path)
        assert (response.status_code, response.json()["code"]) == (404, "unknown_image")

    @pytest.mark.parametrize("name", ["x", "0123456789ab", "0123456789ab-0", "0123456789ab-1 "])
    def test_a_malformed_id_is_rejected(self, app: ReviewApp, name: str) -> None:
        assert app.get(f"/{name}").json()["code"] == "bad_parameter"

    def test_an_expired_image_is_not_found(self, plane: ReviewControlPlane, app: ReviewApp) -> None:
        (one,) = plane.keep_images(1, expires_at_ms=now_ms() - 1)
        for response in (app.get(f"/{one}"), app.get(f"/{one}/image"), app.add_review(one, "cat")):
            assert (response.status_code, response.json()["code"]) == (404, "unknown_image")
        assert app.get("").json() == {"waiting": 0, "images": []}

    def test_an_image_encrypted_with_another_key_is_not_found(
        self, plane: ReviewControlPlane, app: ReviewApp
    ) -> None:
        (one,) = plane.keep_images(1, encrypted=ImageCipher(bytes(32)).encrypt(JPEG))
        response = app.get(f"/{one}/image")
        assert (response.status_code, response.json()["code"]) == (404, "unknown_image")
        assert "another image.key" in response.json()["detail"]


class TestAddReview:
    def test_the_review_reveals_the_predictions(
        self, plane: ReviewControlPlane, app: ReviewApp
    ) -> None:
        (one,) = plane.keep_images(2)
        response = app.add_review(one, "koala")
        content = response.json()
        assert (response.status_code, content["kind"], content["probability"]) == (
            200,
            "disagreement",
            0.5,
        )
        assert content["stable"] == {"version": "v1", "label": "cat"}
        assert content["candidate"] == {"version": "v2", "label": "koala"}
        assert (
            content["review"].items() >= {"answer": "koala", "actor": "anna", "reason": ""}.items()
        )
        assert app.get(f"/{one}").json() == content
        assert app.get("").json()["waiting"] == 0
        assert app.get("?reviewed=true").json()["images"] == [content]

    def test_equal_predictions_are_an_agreement(
        self, plane: ReviewControlPlane, app: ReviewApp
    ) -> None:
        (one,) = plane.keep_images(3)
        assert app.add_review(one, "dog").json()["kind"] == "agreement"

    @pytest.mark.parametrize("answer", ANSWERS)
    def test_every_listed_answer_is_accepted(
        self, plane: ReviewControlPlane, app: ReviewApp, answer: str
    ) -> None:
        (one,) = plane.keep_images(1)
        assert app.add_review(one, answer).json()["review"]["answer"] == answer

    @pytest.mark.parametrize("answer", ["wombat", "Koala", "other ", "agreement"])
    def test_another_answer_is_rejected_with_the_possible_ones(
        self, plane: ReviewControlPlane, app: ReviewApp, answer: str
    ) -> None:
        (one,) = plane.keep_images(1)
        rejected = app.add_review(one, answer)
        assert (rejected.status_code, rejected.json()["code"]) == (422, "bad_review")
        assert "expected one of cat, dog, koala, other, cannot_tell" in rejected.json()["detail"]
        assert app.get("").json()["waiting"] == 1

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
    def test_an_invalid_body_is_rejected(
        self, plane: ReviewControlPlane, app: ReviewApp, body: dict[str, Any]
    ) -> None:
        (one,) = plane.keep_images(1)
        path = f"/reviews/{one}"
        assert (
            app.request("POST", path, json=body, headers=BEARER).json()["code"] == "bad_parameter"
        )
        assert app.get("").json()["waiting"] == 1

    def test_a_second_review_is_rejected(self, plane: ReviewControlPlane, app: ReviewApp) -> None:
        """After the first review the predictions are known: a second one is not blind."""
        (one,) = plane.keep_images(1)
        first = app.add_review(one, "koala").json()
        for answer in ("koala", "dog"):
            rejected = app.add_review(one, answer)
            assert (rejected.status_code, rejected.json()["code"]) == (409, "already_reviewed")
            assert "as 'koala'" in rejected.json()["detail"]
        assert app.get(f"/{one}").json() == first

    def test_a_repeated_idempotency_key_returns_the_same_response(
        self, plane: ReviewControlPlane, app: ReviewApp
    ) -> None:
        one, other = plane.keep_images(1, 2)
        first = app.add_review(one, "koala", idempotency_key="k-1")
        assert app.add_review(one, "koala", idempotency_key="k-1").json() == first.json()
        assert app.add_review(other, "koala", idempotency_key="k-1").status_code == 422
        assert app.get("").json()["waiting"] == 1
