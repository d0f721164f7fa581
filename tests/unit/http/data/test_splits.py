"""Responses while a rule has a candidate: a failure of the candidate is no error for the client."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput

from serve_app.errors import Busy, NotReady, Problem, TooSlow
from serve_app.http.open_inference.tensors import HEADER_LENGTH
from serve_app.rules.plan import Pool
from tests.unit.service import AB, PARALLEL, ROLLING, SHADOW, Service, image, wait_until

KOALA = image("koala")
IMAGES = [image(label, seed) for label in ("cat", "dog", "koala") for seed in (1, 2)]
BROKEN = KOALA[: len(KOALA) // 2]
FAILURES: dict[str, Any] = {
    "none": None,
    "not ready": NotReady("unreachable"),
    "slow": TooSlow("15 s"),
    "busy": Busy("full"),
    "crashing": Problem("it crashed"),
    "hanging": "hanging",
    "absent": "absent",
}


def infer(service: Service, images: list[bytes], **headers: str) -> httpx.Response:
    """A request of the Open Inference Protocol, in binary."""
    tensor = InferInput("image", [len(images)], "BYTES")
    tensor.set_data_from_numpy(np.array(images, dtype=np.object_))
    body, head = InferenceServerClient.generate_request_body([tensor])
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    sent |= {HEADER_LENGTH: str(head), "content-type": "application/octet-stream"}
    return service.request("POST", "/v2/models/animals/infer", content=body, headers=sent)


def apply_failure(service: Service, failure: Any) -> None:
    if failure == "absent":
        del service.pools.assigned[Pool.CANDIDATE]
        service.plane.breaker.record_unreachable(service.plane.rule.candidate_replicas)
    elif failure is not None:
        service.pools.overrides["v2"] = asyncio.Event() if failure == "hanging" else failure


class TestFallback:
    @pytest.mark.parametrize("rule", [PARALLEL, ROLLING], ids=["parallel", "rolling"])
    @pytest.mark.parametrize("failure", ["not ready", "slow", "busy", "crashing"])
    def test_stable_is_the_fallback_for_a_failed_candidate(
        self, service: Service, rule: dict[str, Any], failure: str
    ) -> None:
        service.apply_rule_with_candidate(**rule)
        apply_failure(service, FAILURES[failure])
        response = service.classify(KOALA, x_canary="always")
        body = response.json()
        assert response.status_code == 200
        assert (body["version"], body["reason"]) == ("v1", "fallback")
        assert response.headers["x-served-version"] == "v1"
        assert response.headers["x-assignment-reason"] == "fallback"
        assert body["probabilities"].keys() == {"cat", "dog"}
        assert service.id_codec.decode(body["prediction_id"]).version == "v2"

    def test_a_broken_image_is_a_client_error_and_no_candidate_failure(
        self, service: Service
    ) -> None:
        service.apply_rule_with_candidate(**PARALLEL)
        response = service.classify(BROKEN, x_canary="always")
        assert (response.status_code, response.json()["code"]) == (422, "broken_image")
        assert service.plane.breaker.is_closed
        assert service.exposures() == []

    def test_a_batch_falls_back_as_a_whole(self, service: Service) -> None:
        service.apply_rule_with_candidate(**PARALLEL)
        apply_failure(service, FAILURES["busy"])
        response = infer(service, IMAGES, x_canary="always")
        assert response.status_code == 200
        exposures = service.exposures()
        assert [(e.assigned, e.served, e.error) for e in exposures] == [("v2", "v1", "busy")] * 6
        assert service.traces[-1].error == "busy"


class TestSplits:
    def test_a_user_always_gets_the_same_version(self, service: Service) -> None:
        service.apply_rule_with_candidate(**PARALLEL | {"weight": 0.5})
        versions_by_user = {
            user: {service.classify(KOALA, x_user_id=user).json()["version"] for _ in range(3)}
            for user in "abcdefghij"
        }
        assert {len(versions) for versions in versions_by_user.values()} == {1}
        assert set().union(*versions_by_user.values()) == {"v1", "v2"}

    def test_reveal_version_false_hides_the_version(self, service: Service) -> None:
        service.apply_rule_with_candidate(**AB, weight=1.0, reveal_version=False)
        response = service.classify(image("cat"))
        assert response.json()["reason"] == "split"
        assert "version" not in response.json()
        assert "x-served-version" not in response.headers
        assert service.exposures()[0].served == "v2"


class TestShadow:
    @pytest.mark.parametrize("failure", FAILURES)
    def test_responses_are_those_of_single_whatever_the_candidate_does(
        self, service: Service, failure: str
    ) -> None:
        requests: list[tuple[bytes, dict[str, str]]] = [
            *((each, {"x_user_id": "anna", "x_canary": "always"}) for each in IMAGES),
            (BROKEN, {}),
            (b"", {}),
            (KOALA, {"x_user_id": "u" * 201}),
            (KOALA, {"x_model_version": "v2"}),
            (KOALA, {"x_region": "AU"}),
        ]
        service.apply_rule(stable="v1")
        expected = [
            stable_fields(service.classify(content, **headers)) for content, headers in requests
        ]
        service.apply_rule_with_candidate(**SHADOW, timeout_s=0.05)
        apply_failure(service, FAILURES[failure])
        actual = [
            stable_fields(service.classify(content, **headers)) for content, headers in requests
        ]
        assert actual == expected
        assert [status for status, *_ in expected] == [200] * 6 + [422, 422, 400, 403, 200]
        service.run(wait_until(lambda: service.plane.mirror.in_flight == 0))
        pairs = service.pairs()
        assert len(pairs) == 7  # one per classified image
        outcomes = {pair.outcome for pair in pairs}
        if failure in ("none", "absent"):
            assert outcomes == {"copied" if failure == "none" else "shed"}
        else:
            assert "failed" in outcomes <= {"failed", "shed"}

    def test_a_batch_has_a_shadow_pair_per_image(self, service: Service) -> None:
        service.apply_rule_with_candidate(**SHADOW)
        assert infer(service, IMAGES).status_code == 200
        service.run(wait_until(lambda: service.plane.mirror.in_flight == 0))
        exposures, pairs = service.exposures(), service.pairs()
        assert [(p.writer, p.sequence) for p in pairs] == [
            (e.writer, e.sequence) for e in exposures
        ]
        assert [p.label for p in pairs] == ["cat", "cat", "dog", "dog", "koala", "koala"]
        assert {p.outcome for p in pairs} == {"copied"}

    def test_a_batch_above_max_in_flight_is_shed_as_a_whole(self, service: Service) -> None:
        service.apply_rule_with_candidate(**SHADOW, max_in_flight=6)
        service.pools.overrides["v2"] = gate = asyncio.Event()
        service.classify()
        assert infer(service, IMAGES).status_code == 200
        gate.set()
        service.run(wait_until(lambda: service.plane.mirror.in_flight == 0))
        outcomes = {p.sequence: (p.outcome, p.error) for p in service.pairs()}
        assert outcomes.pop(1) == ("copied", None)
        assert list(outcomes.values()) == [("shed", "full")] * 6

    def test_a_batch_larger_than_max_in_flight_is_copied_if_none_is_in_flight(
        self, service: Service
    ) -> None:
        service.apply_rule_with_candidate(**SHADOW, max_in_flight=5)
        assert infer(service, IMAGES).status_code == 200
        service.run(wait_until(lambda: service.plane.mirror.in_flight == 0))
        assert [(p.outcome, p.error) for p in service.pairs()] == [("copied", None)] * 6

    def test_responses_do_not_wait_for_copies(self, service: Service) -> None:
        service.apply_rule_with_candidate(**SHADOW)
        service.pools.overrides["v2"] = asyncio.Event()
        for _ in range(3):
            assert service.classify(KOALA).status_code == 200
        assert service.plane.mirror.in_flight == 3


def stable_fields(response: httpx.Response) -> tuple[Any, ...]:
    """The fields of a response that do not differ between equal requests."""
    keys = ("label", "confidence", "probabilities", "version", "reason", "code", "detail")
    headers = ("x-served-version", "x-assignment-reason", "content-type")
    return (
        response.status_code,
        *(response.json().get(key) for key in keys),
        *(response.headers.get(name) for name in headers),
    )
