"""`POST /v1/feedback`: feedback is stored before the response, or rejected with a reason."""

from __future__ import annotations

import gzip
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.clock import now_ms
from serve_app.http.data.feedback import MAX_FEEDBACK_BYTES
from serve_app.privacy.prediction_ids import PredictionId, PredictionIdCodec
from serve_app.recording.batch import Batch
from serve_app.recording.records import RETENTION_DAYS, Feedback
from serve_app.recording.spool import Spool
from tests.unit.service import PARALLEL, Service, image

DAY_MS = 86_400_000
FEEDBACK: list[dict[str, Any]] = [
    {"label": "dog"},
    {"label": "cat", "correct": True},
    {"label": "koala", "correct": False},
    {"correct": False},
    {"correct": True, "rating": 5, "complaint": False},
    {"rating": 1},
    {"complaint": True},
]


def classify_cat(service: Service) -> str:
    """Classify an image as a cat; returns the prediction id."""
    body = service.classify(image("cat")).json()
    assert body["label"] == "cat"
    return str(body["prediction_id"])


def prediction_id_at(service: Service, at_ms: int) -> str:
    """The id of a prediction made at a time."""
    return service.id_codec.encode(PredictionId("ab" * 6, 1, at_ms, "9f31c0aa", "v1", "cat"))


def send_feedback(service: Service, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return service.request("POST", "/v1/feedback", content=content, headers=headers)


def read_spool(folder: Path) -> list[Batch]:
    batches: list[Batch] = []
    Spool(folder).drain(batches.append)
    return batches


class TestAccepted:
    @pytest.mark.parametrize("fields", FEEDBACK, ids=json.dumps)
    def test_feedback_is_stored_with_the_fields_of_the_prediction_id(
        self, service: Service, fields: dict[str, Any]
    ) -> None:
        prediction_id = classify_cat(service)
        before_ms = time.time_ns() // 1_000_000
        response = send_feedback(service, {"prediction_id": prediction_id, **fields})
        assert response.status_code == 200
        assert response.json() == {"prediction_id": prediction_id, "status": "kept"}
        (feedback,) = service.feedback()
        (exposure,) = service.exposures()
        assert before_ms <= feedback.at_ms <= time.time_ns() // 1_000_000
        assert replace(feedback, at_ms=0) == Feedback(
            writer=exposure.writer,
            sequence=exposure.sequence,
            at_ms=0,
            answered_at_ms=exposure.at_ms,
            rule_id=exposure.rule_id,
            assigned="v1",
            answered="cat",
            label=fields.get("label"),
            correct=fields.get("correct"),
            rating=fields.get("rating"),
            complaint=fields.get("complaint"),
        )

    def test_feedback_counts_for_the_assigned_version_after_a_fallback(
        self, service: Service
    ) -> None:
        service.apply_rule(**PARALLEL)  # the candidate has no replica
        body = service.classify(image("cat"), x_canary="always").json()
        assert (body["version"], body["reason"]) == ("v1", "fallback")
        assert send_feedback(
            service, {"prediction_id": body["prediction_id"], "rating": 2}
        ).is_success
        (feedback,) = service.feedback()
        assert (feedback.assigned, feedback.answered) == ("v2", "cat")

    def test_feedback_is_stored_even_before_its_exposure(self, service: Service) -> None:
        """Exposures are stored in batches; the signed prediction id needs no look-up."""
        assert send_feedback(
            service, {"prediction_id": classify_cat(service), "rating": 2}
        ).is_success
        (feedback,) = service.feedback()
        (exposure,) = service.exposures()
        assert feedback.sequence == exposure.sequence

    def test_repeated_feedback_gets_the_same_response(self, service: Service) -> None:
        body = {"prediction_id": classify_cat(service), "label": "dog"}
        first, second = (send_feedback(service, body) for _ in range(2))
        assert (first.status_code, first.content) == (second.status_code, second.content)
        first_feedback, second_feedback = service.feedback()
        assert replace(first_feedback, at_ms=0) == replace(second_feedback, at_ms=0)

    def test_later_feedback_is_stored_too(self, service: Service) -> None:
        prediction_id = classify_cat(service)
        for label in ("dog", "koala"):
            assert send_feedback(
                service, {"prediction_id": prediction_id, "label": label}
            ).is_success
        assert [feedback.label for feedback in service.feedback()] == ["dog", "koala"]

    def test_a_null_field_is_ignored(self, service: Service) -> None:
        body = {"prediction_id": classify_cat(service), "label": None, "rating": 4}
        assert send_feedback(service, body).status_code == 200

    def test_feedback_needs_no_rule_and_records_no_exposure(self, service: Service) -> None:
        prediction_id = classify_cat(service)
        service.plane._rule = None
        assert (
            send_feedback(service, {"prediction_id": prediction_id, "rating": 4}).status_code == 200
        )
        assert len(service.exposures()) == 1
        assert service.traces[-1].route == "/v1/feedback"


class TestLabels:
    @pytest.mark.parametrize("told", ["cat", "Cat", "CAT", " cat ", "cat\u00a0", "cat\n", "ｃａｔ"])
    def test_a_label_is_stored_as_its_version_writes_it(self, service: Service, told: str) -> None:
        body = {"prediction_id": classify_cat(service), "label": told, "correct": True}
        assert send_feedback(service, body).json().keys() == {"prediction_id", "status"}
        (feedback,) = service.feedback()
        assert (feedback.label, feedback.unknown_label) == ("cat", None)

    def test_a_label_of_any_version_is_known(self, service: Service) -> None:
        """Under a rule with v1 alone, which cannot predict it."""
        body = {"prediction_id": classify_cat(service), "label": "Koala"}
        assert "unknown_label" not in send_feedback(service, body).json()
        assert service.feedback()[0].label == "koala"

    def test_the_predicted_label_is_known_though_its_version_is_gone(
        self, service: Service
    ) -> None:
        prediction = PredictionId("ab" * 6, 1, now_ms(), "9f31c0aa", "v0", "Wombat")
        body = {"prediction_id": service.id_codec.encode(prediction), "label": "wombat"}
        assert "unknown_label" not in send_feedback(service, body).json()
        assert service.feedback()[0].label == "Wombat"

    @pytest.mark.parametrize("correct", [None, False])
    def test_an_unknown_label_is_kept_apart_and_answered_with_the_known_ones(
        self, service: Service, correct: bool | None
    ) -> None:
        body = {"prediction_id": classify_cat(service), "label": " kaola", "correct": correct}
        response = send_feedback(service, body)
        assert response.status_code == 200
        assert response.json() == {
            "prediction_id": body["prediction_id"],
            "status": "kept",
            "unknown_label": "kaola",
            "known_labels": ["cat", "dog", "koala"],
            "note": "no version has this label, so it does not count as the truth: did you mean"
            " koala?",
        }
        (feedback,) = service.feedback()
        assert (feedback.label, feedback.unknown_label) == (None, "kaola")
        assert feedback.correct is correct

    @pytest.mark.parametrize("told", ["Schnabeltier ä", "考拉", "kangaroo", "0"])
    def test_any_other_word_is_unknown(self, service: Service, told: str) -> None:
        body = {"prediction_id": classify_cat(service), "label": told}
        assert send_feedback(service, body).json()["unknown_label"] == told

    def test_null_keys_are_keys_left_out(self, service: Service) -> None:
        body = {"prediction_id": classify_cat(service), "label": "dog", "stars": None}
        assert send_feedback(service, body).status_code == 200


class TestRejections:
    def test_a_forged_prediction_id_is_not_found(self, service: Service) -> None:
        forged = PredictionIdCodec(bytes(32)).encode(
            PredictionId("ab" * 6, 1, 1, "00" * 4, "v1", "cat")
        )
        for prediction_id in (forged, "x", "ä", classify_cat(service)[:-1]):
            response = send_feedback(service, {"prediction_id": prediction_id, "rating": 4})
            assert (response.status_code, response.json()["code"]) == (404, "unknown_prediction")
        assert service.feedback() == []

    @pytest.mark.parametrize(
        "fields", [{}, {"label": None}, {"label": None, "correct": None, "rating": None}]
    )
    def test_empty_feedback_is_rejected(self, service: Service, fields: dict[str, Any]) -> None:
        response = send_feedback(service, {"prediction_id": classify_cat(service), **fields})
        assert (response.status_code, response.json()["code"]) == (422, "bad_feedback")
        assert "send at least one of label, correct, rating, complaint" in response.json()["detail"]

    @pytest.mark.parametrize(
        ("label", "correct"), [("dog", True), ("cat", False), ("CAT ", False), ("catt", True)]
    )
    def test_contradictory_feedback_is_rejected(
        self, service: Service, label: str, correct: bool
    ) -> None:
        body = {"prediction_id": classify_cat(service), "label": label, "correct": correct}
        response = send_feedback(service, body)
        assert (response.status_code, response.json()["code"]) == (422, "bad_feedback")
        assert response.json()["detail"] == (
            f"correct is {str(correct).lower()} and label is {label.strip()}, but the predicted"
            " label is"
            " cat: send only one of them"
        )
        assert service.feedback() == []

    @pytest.mark.parametrize(
        ("fields", "key"),
        [
            ({"rating": 0}, "rating"),
            ({"rating": 6}, "rating"),
            ({"rating": 4.5}, "rating"),
            ({"rating": "4"}, "rating"),
            ({"rating": True}, "rating"),
            ({"correct": "yes"}, "correct"),
            ({"complaint": 1}, "complaint"),
            ({"label": ""}, "label"),
            ({"label": "k" * 101}, "label"),
            ({"label": 7}, "label"),
            ({"lable": "dog", "rating": 4}, "lable"),
            ({"prediction_id": "", "rating": 4}, "prediction_id"),
            ({"prediction_id": "x" * 501, "rating": 4}, "prediction_id"),
            ({"prediction_id": None, "rating": 4}, "prediction_id"),
        ],
    )
    def test_an_invalid_field_is_rejected_with_its_key(
        self, service: Service, fields: dict[str, Any], key: str
    ) -> None:
        response = send_feedback(service, {"prediction_id": classify_cat(service), **fields})
        assert (response.status_code, response.json()["code"]) == (422, "bad_feedback")
        assert key in response.json()["detail"]
        assert service.feedback() == []

    @pytest.mark.parametrize(
        "label",
        ["\0", "dog\0", "a\x1bb", "\x7f", "do\u202eg", "\u200bdog", "\ud800", " ", "\u00a0"],
    )
    def test_a_label_that_cannot_be_shown_is_rejected(self, service: Service, label: str) -> None:
        """PostgreSQL rejects a NUL: the spool would repeat the same batch forever."""
        response = send_feedback(service, {"prediction_id": classify_cat(service), "label": label})
        assert (response.status_code, response.json()["code"]) == (422, "bad_feedback")
        assert response.json()["detail"].startswith("label ")

    def test_a_key_that_is_set_twice_is_rejected(self, service: Service) -> None:
        prediction_id = classify_cat(service)
        body = f'{{"prediction_id": "{prediction_id}", "label": "cat", "label": "dog"}}'.encode()
        response = send_feedback(service, body)
        assert (response.status_code, response.json()["code"]) == (422, "bad_feedback")
        assert response.json()["detail"] == "label is set twice: keep one"

    @pytest.mark.parametrize("rating", [1, 2, 3, 4, 5])
    def test_a_rating_is_from_1_to_5(self, service: Service, rating: int) -> None:
        body = {"prediction_id": classify_cat(service), "rating": rating}
        assert send_feedback(service, body).status_code == 200

    @pytest.mark.parametrize("rating", ["5.0", "5e0", "50E-1"])
    def test_a_number_may_be_spelled_as_json_allows(self, service: Service, rating: str) -> None:
        body = f'{{"prediction_id": "{classify_cat(service)}", "rating": {rating}}}'.encode()
        assert send_feedback(service, body).status_code == 200
        assert service.feedback()[0].rating == 5

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 10_000, b"{'label': 1}"])
    def test_a_body_that_is_not_json_is_rejected(self, service: Service, body: bytes) -> None:
        response = send_feedback(service, body)
        assert (response.status_code, response.json()["code"]) == (400, "bad_body")

    @pytest.mark.parametrize("body", [b"null", b"[]", b"7", b'"dog"'])
    def test_json_that_is_not_an_object_is_rejected(self, service: Service, body: bytes) -> None:
        response = send_feedback(service, body)
        assert (response.status_code, response.json()["code"]) == (422, "bad_feedback")

    def test_a_body_above_the_limit_is_rejected(self, service: Service) -> None:
        response = send_feedback(service, b" " * (MAX_FEEDBACK_BYTES + 1))
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")

    def test_a_body_of_the_maximum_size_is_read(self, service: Service) -> None:
        body = json.dumps({"prediction_id": classify_cat(service), "rating": 4}).encode()
        assert send_feedback(service, body.ljust(MAX_FEEDBACK_BYTES)).status_code == 200

    @pytest.mark.parametrize(("more_ms", "days"), [(1, 30), (11 * DAY_MS, 41)])
    def test_feedback_on_an_expired_prediction_is_rejected(
        self, service: Service, more_ms: int, days: int
    ) -> None:
        at_ms = now_ms() - RETENTION_DAYS * DAY_MS - more_ms
        response = send_feedback(
            service, {"prediction_id": prediction_id_at(service, at_ms), "rating": 4}
        )
        assert (response.status_code, response.json()["code"]) == (422, "bad_feedback")
        assert response.json()["detail"] == (
            f"the prediction is more than {days} days old: feedback is accepted for predictions of"
            " the last 30 days"
        )
        assert service.feedback() == []

    def test_feedback_on_a_prediction_within_the_retention_is_stored(
        self, service: Service
    ) -> None:
        at_ms = now_ms() - RETENTION_DAYS * DAY_MS + 60_000
        body = {"prediction_id": prediction_id_at(service, at_ms), "rating": 4}
        assert send_feedback(service, body).status_code == 200
        (feedback,) = service.feedback()
        assert feedback.answered_at_ms == at_ms

    def test_a_compressed_body_is_read(self, service: Service) -> None:
        body = json.dumps({"prediction_id": classify_cat(service), "rating": 4}).encode()
        sent = send_feedback(service, gzip.compress(body), **{"content-encoding": "gzip"})
        assert sent.status_code == 200
        assert send_feedback(service, b"{}", **{"content-encoding": "br"}).status_code == 415

    @settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
            lambda inner: st.dictionaries(
                st.sampled_from(["prediction_id", "label", "correct", "rating", "complaint", "x"]),
                inner,
            ),
            max_leaves=6,
        )
    )
    def test_arbitrary_json_is_a_client_error(self, service: Service, body: Any) -> None:
        assert send_feedback(service, body).status_code in (400, 404, 422)


class TestStoreDown:
    def test_feedback_is_spooled_while_the_store_is_down(
        self, service: Service, tmp_path: Path
    ) -> None:
        prediction_id = classify_cat(service)
        service.store_is_down = True
        for rating in (1, 2):
            body = {"prediction_id": prediction_id, "rating": rating}
            assert send_feedback(service, body).status_code == 200
        spooled = [feedback for batch in read_spool(tmp_path) for feedback in batch.feedback]
        decoded = service.id_codec.decode(prediction_id)
        assert [(f.rating, f.writer, f.sequence, f.answered) for f in spooled] == [
            (rating, decoded.writer, decoded.sequence, "cat") for rating in (1, 2)
        ]

    def test_without_store_and_spool_feedback_is_503(
        self, service: Service, tmp_path: Path
    ) -> None:
        prediction_id = classify_cat(service)
        service.store_is_down = True
        shutil.rmtree(tmp_path)
        response = send_feedback(service, {"prediction_id": prediction_id, "rating": 1})
        assert (response.status_code, response.json()["code"]) == (503, "not_ready")
        assert response.json()["detail"].endswith("send it again later")
        service.store_is_down = False
