"""Feedback is kept before it is thanked for, or its sender is told what is wrong with it."""

from __future__ import annotations

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
from serve_app.domain import ROWS_KEPT_DAYS, Feedback
from serve_app.http.feedback import MAX_FEEDBACK_BYTES
from serve_app.privacy.prediction_ids import PredictionId, PredictionIdCodec
from serve_app.recording.batch import Batch
from serve_app.recording.spool import Spool
from tests.unit.service import PARALLEL, Service, image

DAY_MS = 86_400_000
SAID: list[dict[str, Any]] = [
    {"label": "dog"},
    {"label": "cat", "correct": True},
    {"label": "koala", "correct": False},
    {"correct": False},
    {"correct": True, "rating": 5, "complaint": False},
    {"rating": 1},
    {"complaint": True},
    {"label": "Schnabeltier ä 考拉", "rating": 3},
]


def answered(service: Service) -> str:
    """The prediction id of an image that was called a cat."""
    answer = service.classify(image("cat")).json()
    assert answer["label"] == "cat"
    return str(answer["prediction_id"])


def prediction_id_of(service: Service, at_ms: int) -> str:
    """The prediction id of an answer of a time."""
    return service.id_codec.encode(PredictionId("ab" * 6, 1, at_ms, "9f31c0aa", "v1", "cat"))


def tell(service: Service, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return service.ask("POST", "/v1/feedback", content=content, headers=headers)


def spooled(folder: Path) -> list[Batch]:
    batches: list[Batch] = []
    Spool(folder).drain(batches.append)
    return batches


class TestWhatIsKept:
    @pytest.mark.parametrize("said", SAID, ids=json.dumps)
    def test_it_reaches_the_store_with_what_the_id_says_of_the_answer(
        self, service: Service, said: dict[str, Any]
    ) -> None:
        prediction_id = answered(service)
        before_ms = time.time_ns() // 1_000_000
        response = tell(service, {"prediction_id": prediction_id, **said})
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
            label=said.get("label"),
            correct=said.get("correct"),
            rating=said.get("rating"),
            complaint=said.get("complaint"),
        )

    def test_it_counts_for_the_assigned_version_also_where_stable_answered(
        self, service: Service
    ) -> None:
        service.apply_rule(**PARALLEL)  # its candidate is not there
        answer = service.classify(image("cat"), x_canary="always").json()
        assert (answer["version"], answer["reason"]) == ("v1", "fallback")
        assert tell(service, {"prediction_id": answer["prediction_id"], "rating": 2}).is_success
        (feedback,) = service.feedback()
        assert (feedback.assigned, feedback.answered) == ("v2", "cat")

    def test_it_is_kept_also_before_the_exposure_is(self, service: Service) -> None:
        """The exposures travel in batches; the id vouches for itself."""
        assert tell(service, {"prediction_id": answered(service), "rating": 2}).is_success
        (feedback,) = service.feedback()
        (exposure,) = service.exposures()
        assert feedback.sequence == exposure.sequence

    def test_the_same_again_gets_the_same_answer(self, service: Service) -> None:
        body = {"prediction_id": answered(service), "label": "dog"}
        first, again = (tell(service, body) for _ in range(2))
        assert (first.status_code, first.content) == (again.status_code, again.content)
        first_word, other_word = service.feedback()
        assert replace(first_word, at_ms=0) == replace(other_word, at_ms=0)

    def test_a_changed_mind_is_kept_as_well(self, service: Service) -> None:
        prediction_id = answered(service)
        for label in ("dog", "koala"):
            assert tell(service, {"prediction_id": prediction_id, "label": label}).is_success
        assert [feedback.label for feedback in service.feedback()] == ["dog", "koala"]

    def test_a_key_that_is_null_is_as_good_as_left_out(self, service: Service) -> None:
        body = {"prediction_id": answered(service), "label": None, "rating": 4}
        assert tell(service, body).status_code == 200

    def test_it_is_no_exposure_and_needs_no_rule(self, service: Service) -> None:
        prediction_id = answered(service)
        service.plane._rule = None
        assert tell(service, {"prediction_id": prediction_id, "rating": 4}).status_code == 200
        assert len(service.exposures()) == 1
        assert service.traces[-1].route == "/v1/feedback"


class TestRejections:
    def test_an_id_that_was_not_given_out_here_is_not_found(self, service: Service) -> None:
        forged = PredictionIdCodec(bytes(32)).encode(
            PredictionId("ab" * 6, 1, 1, "00" * 4, "v1", "cat")
        )
        for prediction_id in (forged, "x", "ä", answered(service)[:-1]):
            response = tell(service, {"prediction_id": prediction_id, "rating": 4})
            assert (response.status_code, response.json()["code"]) == (404, "unknown_prediction")
        assert service.feedback() == []

    @pytest.mark.parametrize(
        "said", [{}, {"label": None}, {"label": None, "correct": None, "rating": None}]
    )
    def test_it_must_say_something(self, service: Service, said: dict[str, Any]) -> None:
        response = tell(service, {"prediction_id": answered(service), **said})
        assert (response.status_code, response.json()["code"]) == (422, "bad_feedback")
        assert "give one of label, correct, rating, complaint" in response.json()["detail"]

    @pytest.mark.parametrize(("label", "correct"), [("dog", True), ("cat", False), ("Cat", True)])
    def test_it_must_not_contradict_itself(
        self, service: Service, label: str, correct: bool
    ) -> None:
        body = {"prediction_id": answered(service), "label": label, "correct": correct}
        response = tell(service, body)
        assert (response.status_code, response.json()["code"]) == (422, "bad_feedback")
        assert response.json()["detail"] == (
            f"correct is {str(correct).lower()} and label is {label}, but the answer was cat:"
            " leave one of them out"
        )
        assert service.feedback() == []

    @pytest.mark.parametrize(
        ("said", "key"),
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
    def test_what_does_not_fit_is_rejected_by_its_key(
        self, service: Service, said: dict[str, Any], key: str
    ) -> None:
        response = tell(service, {"prediction_id": answered(service), **said})
        assert (response.status_code, response.json()["code"]) == (422, "bad_feedback")
        assert key in response.json()["detail"]
        assert service.feedback() == []

    @pytest.mark.parametrize("label", ["\0", "dog\0", "a\nb", "\x7f"])
    def test_a_label_is_text_that_every_database_keeps(self, service: Service, label: str) -> None:
        """PostgreSQL takes no NUL: the spool would hand it the same batch again for ever."""
        response = tell(service, {"prediction_id": answered(service), "label": label})
        assert (response.status_code, response.json()["code"]) == (422, "bad_feedback")

    @pytest.mark.parametrize("rating", [1, 2, 3, 4, 5])
    def test_a_rating_is_from_1_to_5(self, service: Service, rating: int) -> None:
        body = {"prediction_id": answered(service), "rating": rating}
        assert tell(service, body).status_code == 200

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 10_000, b"{'label': 1}"])
    def test_what_is_no_json_is_a_bad_body(self, service: Service, body: bytes) -> None:
        response = tell(service, body)
        assert (response.status_code, response.json()["code"]) == (400, "bad_body")

    @pytest.mark.parametrize("body", [b"null", b"[]", b"7", b'"dog"'])
    def test_json_that_is_no_object_is_rejected(self, service: Service, body: bytes) -> None:
        response = tell(service, body)
        assert (response.status_code, response.json()["code"]) == (422, "bad_feedback")

    def test_a_body_above_the_limit_is_rejected(self, service: Service) -> None:
        response = tell(service, b" " * (MAX_FEEDBACK_BYTES + 1))
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")

    def test_a_body_as_large_as_the_limit_is_read(self, service: Service) -> None:
        body = json.dumps({"prediction_id": answered(service), "rating": 4}).encode()
        assert tell(service, body.ljust(MAX_FEEDBACK_BYTES)).status_code == 200

    @pytest.mark.parametrize(("more_ms", "days"), [(1, 30), (11 * DAY_MS, 41)])
    def test_an_answer_of_which_the_store_keeps_nothing_any_more_is_told(
        self, service: Service, more_ms: int, days: int
    ) -> None:
        at_ms = now_ms() - ROWS_KEPT_DAYS * DAY_MS - more_ms
        response = tell(service, {"prediction_id": prediction_id_of(service, at_ms), "rating": 4})
        assert (response.status_code, response.json()["code"]) == (422, "bad_feedback")
        assert response.json()["detail"] == (
            f"the answer is more than {days} days old: feedback is kept for answers of the last"
            " 30 days"
        )
        assert service.feedback() == []

    def test_an_answer_of_which_the_store_keeps_all_is_no_older_than_that(
        self, service: Service
    ) -> None:
        at_ms = now_ms() - ROWS_KEPT_DAYS * DAY_MS + 60_000
        body = {"prediction_id": prediction_id_of(service, at_ms), "rating": 4}
        assert tell(service, body).status_code == 200
        (feedback,) = service.feedback()
        assert feedback.answered_at_ms == at_ms

    def test_a_compressed_body_is_rejected(self, service: Service) -> None:
        assert tell(service, b"{}", **{"content-encoding": "gzip"}).status_code == 415

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
    def test_any_json_is_rejected_or_taken_and_never_an_error_of_ours(
        self, service: Service, body: Any
    ) -> None:
        assert tell(service, body).status_code in (400, 404, 422)


class TestStoreAway:
    def test_it_is_kept_in_the_spool_while_the_store_is_away(
        self, service: Service, tmp_path: Path
    ) -> None:
        prediction_id = answered(service)
        service.store_is_down = True
        for rating in (1, 2):
            body = {"prediction_id": prediction_id, "rating": rating}
            assert tell(service, body).status_code == 200
        kept = [feedback for batch in spooled(tmp_path) for feedback in batch.feedback]
        opened = service.id_codec.decode(prediction_id)
        assert [(f.rating, f.writer, f.sequence, f.answered) for f in kept] == [
            (rating, opened.writer, opened.sequence, "cat") for rating in (1, 2)
        ]

    def test_where_nothing_keeps_it_the_sender_is_told_to_come_back(
        self, service: Service, tmp_path: Path
    ) -> None:
        prediction_id = answered(service)
        service.store_is_down = True
        shutil.rmtree(tmp_path)
        response = tell(service, {"prediction_id": prediction_id, "rating": 1})
        assert (response.status_code, response.json()["code"]) == (503, "not_ready")
        assert response.json()["detail"].endswith("send it again later")
        service.store_is_down = False
