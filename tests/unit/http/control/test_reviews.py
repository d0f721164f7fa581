"""Blind review over HTTP, down to the database file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from serve_app.clock import now_ms
from serve_app.home import DATABASE_VARIABLE, Home
from serve_app.privacy.image_cipher import ImageCipher
from tests.unit.http.control.conftest import IMAGE_ID, ControlApp
from tests.unit.reviews import JPEG, PREDICTIONS, ReviewPlane

ANSWERS = ["cat", "dog", "koala", "other", "cannot_tell"]


class ReviewService(ControlApp):
    """The application over a control plane and a store, with requests for reviews.

    Attributes:
        plane: The control plane.
    """

    def __init__(self, plane: ReviewPlane) -> None:
        super().__init__(plane.control, plane.reads, plane.sessions)
        self.plane = plane

    def images(self, **parameters: Any) -> dict[str, Any]:
        """The list of kept images."""
        content: dict[str, Any] = self.get(f"/reviews?{urlencode(parameters)}")
        return content

    def review(self, image_id: str, answer: str, **fields: str) -> httpx.Response:
        """Anna's review of an image."""
        body = {"actor": "anna", "answer": answer, **fields}
        return self.request("POST", f"/reviews/{image_id}", json=body)

    def audit(self) -> list[dict[str, Any]]:
        """The audit log without times and ids."""
        entries = self.get("/audit")["audit"]
        return [{key: entry[key] for key in entry.keys() - {"id", "at_ms"}} for entry in entries]


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReviewService]:
    """The application over a control plane and a store."""
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    plane = ReviewPlane(Home(tmp_path))
    yield ReviewService(plane)
    plane.close()


class TestUnreviewedImages:
    def test_images_are_listed_with_their_possible_answers(self, service: ReviewService) -> None:
        ids = service.plane.keep_images(1, 2, 3)
        listed = service.images()
        assert listed["waiting"] == 3
        assert {one["id"] for one in listed["images"]} == set(ids)
        for one in listed["images"]:
            assert (one["answers"], one["reviewed"]) == (ANSWERS, False)
            assert service.get(f"/reviews/{one['id']}") == one

    def test_predictions_are_hidden_before_the_review(self, service: ReviewService) -> None:
        """Images differ only in id and times, whatever their predictions are."""
        service.plane.keep_images(*PREDICTIONS)
        varying = {"id", "at_ms", "expires_at_ms"}
        shown = [
            {key: one[key] for key in one.keys() - varying} for one in service.images()["images"]
        ]
        assert shown == [{"answers": ANSWERS, "reviewed": False}] * 4

    def test_the_list_has_at_most_limit_images(self, service: ReviewService) -> None:
        service.plane.keep_images(*PREDICTIONS)
        all_ids = [one["id"] for one in service.images()["images"]]
        listed = service.images(limit=2)
        assert [one["id"] for one in listed["images"]] == all_ids[:2]
        assert listed["waiting"] == 4

    def test_the_image_is_sent_as_jpeg_and_not_cached(self, service: ReviewService) -> None:
        (one,) = service.plane.keep_images(1)
        response = service.request("GET", f"/reviews/{one}/image")
        assert (response.content, response.headers["content-type"]) == (JPEG, "image/jpeg")
        assert response.headers["cache-control"] == "no-store"

    def test_stored_images_are_encrypted(self, service: ReviewService, tmp_path: Path) -> None:
        service.plane.keep_images(1, 2)
        files = b"".join(path.read_bytes() for path in tmp_path.glob("serve-app.db*"))
        assert b"kept_images" in files
        assert JPEG[:4] not in files
        assert JPEG[4:-2] not in files

    @pytest.mark.parametrize("path", [f"/reviews/{IMAGE_ID}", f"/reviews/{IMAGE_ID}/image"])
    def test_an_unknown_image_is_not_found(self, service: ReviewService, path: str) -> None:
        service.plane.keep_images(1)
        assert service.error("GET", path)[:2] == (404, "unknown_image")

    @pytest.mark.parametrize("name", ["x", "0123456789ab", "0123456789ab-0", "0123456789ab-1 "])
    def test_a_malformed_id_is_rejected(self, service: ReviewService, name: str) -> None:
        assert service.error("GET", f"/reviews/{name}")[:2] == (422, "bad_parameter")

    def test_an_expired_image_is_not_found(self, service: ReviewService) -> None:
        (one,) = service.plane.keep_images(1, expires_at_ms=now_ms() - 1)
        for response in (
            service.request("GET", f"/reviews/{one}"),
            service.request("GET", f"/reviews/{one}/image"),
            service.review(one, "cat"),
        ):
            assert (response.status_code, response.json()["code"]) == (404, "unknown_image")
        assert service.images() == {"waiting": 0, "images": []}

    def test_an_image_encrypted_with_another_key_is_not_found(self, service: ReviewService) -> None:
        (one,) = service.plane.keep_images(1, encrypted=ImageCipher(bytes(32)).encrypt(JPEG))
        status, code, detail = service.error("GET", f"/reviews/{one}/image")
        assert (status, code) == (404, "unknown_image")
        assert "another image.key" in detail


class TestAddReview:
    def test_the_review_reveals_the_predictions(self, service: ReviewService) -> None:
        (one,) = service.plane.keep_images(2, probability=0.5)
        content = service.review(one, "koala").json()
        assert (content["kind"], content["probability"]) == ("disagreement", 0.5)
        assert content["stable"] == {"version": "v1", "label": "cat"}
        assert content["candidate"] == {"version": "v2", "label": "koala"}
        review = {"answer": "koala", "actor": "anna", "reason": ""}
        assert content["review"].items() >= review.items()
        assert service.get(f"/reviews/{one}") == content
        assert service.images()["waiting"] == 0
        assert service.images(reviewed=True)["images"] == [content]

    def test_equal_predictions_are_an_agreement(self, service: ReviewService) -> None:
        (one,) = service.plane.keep_images(3)
        assert service.review(one, "dog").json()["kind"] == "agreement"

    @pytest.mark.parametrize("answer", ANSWERS)
    def test_every_listed_answer_is_stored_with_its_audit_entry(
        self, service: ReviewService, answer: str
    ) -> None:
        (one,) = service.plane.keep_images(1)
        content = service.review(one, answer, reason="round ears").json()
        assert (content["review"]["answer"], content["review"]["reason"]) == (answer, "round ears")
        assert service.audit() == [
            {
                "action": "review",
                "actor": "anna",
                "reason": "round ears",
                "details": {"image": one, "answer": answer},
            }
        ]

    @pytest.mark.parametrize("answer", ["wombat", "Koala", "other ", "agreement"])
    def test_another_answer_is_rejected_with_the_possible_ones(
        self, service: ReviewService, answer: str
    ) -> None:
        (one,) = service.plane.keep_images(1)
        rejected = service.review(one, answer)
        assert (rejected.status_code, rejected.json()["code"]) == (422, "bad_review")
        assert "expected one of cat, dog, koala, other, cannot_tell" in rejected.json()["detail"]
        assert service.images()["waiting"] == 1
        assert service.audit() == []

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
        self, service: ReviewService, body: dict[str, Any]
    ) -> None:
        (one,) = service.plane.keep_images(1)
        error = service.error("POST", f"/reviews/{one}", json=body)
        assert error[:2] == (422, "bad_parameter")
        assert service.images()["waiting"] == 1

    def test_a_second_review_is_rejected(self, service: ReviewService) -> None:
        """After the first review the predictions are known: a second one is not blind."""
        (one,) = service.plane.keep_images(1)
        first = service.review(one, "koala").json()
        for answer in ("koala", "dog"):
            rejected = service.review(one, answer)
            assert (rejected.status_code, rejected.json()["code"]) == (409, "already_reviewed")
            assert "as 'koala'" in rejected.json()["detail"]
        assert service.get(f"/reviews/{one}") == first
        assert len(service.audit()) == 1
