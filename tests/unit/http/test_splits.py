"""What a caller sees while a candidate is tried: whatever becomes of it, never an error."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput

from serve_app.domain import Pool
from serve_app.errors import Busy, NotReady, Problem, TooSlow
from serve_app.http.tensors import HEADER_LENGTH
from tests.unit.service import AB, PARALLEL, ROLLING, SHADOW, Service, image, until

KOALA = image("koala")
IMAGES = [image(label, seed) for label in ("cat", "dog", "koala") for seed in (1, 2)]
BROKEN = KOALA[: len(KOALA) // 2]
FATES: dict[str, Any] = {
    "fine": None,
    "not ready": NotReady("gone"),
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
    return service.ask("POST", "/v2/models/animals/infer", content=body, headers=sent)


def meet(service: Service, fate: Any) -> None:
    if fate == "absent":
        del service.pools.assigned[Pool.CANDIDATE]
        service.plane.breaker.record_unreachable(service.plane.rule.candidate_replicas)
    elif fate is not None:
        service.pools.fates["v2"] = asyncio.Event() if fate == "hanging" else fate


class TestFallback:
    @pytest.mark.parametrize("rule", [PARALLEL, ROLLING], ids=["parallel", "rolling"])
    @pytest.mark.parametrize("fate", ["not ready", "slow", "busy", "crashing"])
    def test_stable_answers_where_the_candidate_cannot(
        self, service: Service, rule: dict[str, Any], fate: str
    ) -> None:
        service.try_out(**rule)
        meet(service, FATES[fate])
        response = service.classify(KOALA, x_canary="always")
        answer = response.json()
        assert response.status_code == 200
        assert (answer["version"], answer["reason"]) == ("v1", "fallback")
        assert response.headers["x-served-version"] == "v1"
        assert response.headers["x-assignment-reason"] == "fallback"
        assert answer["probabilities"].keys() == {"cat", "dog"}
        assert service.id_codec.decode(answer["prediction_id"]).version == "v2"

    def test_a_broken_image_is_its_senders_fault_under_every_rule(self, service: Service) -> None:
        service.try_out(**PARALLEL)
        response = service.classify(BROKEN, x_canary="always")
        assert (response.status_code, response.json()["code"]) == (422, "broken_image")
        assert service.plane.breaker.is_closed
        assert service.exposures() == []

    def test_a_batch_falls_back_as_one(self, service: Service) -> None:
        service.try_out(**PARALLEL)
        meet(service, FATES["busy"])
        response = infer(service, IMAGES, x_canary="always")
        assert response.status_code == 200
        exposures = service.exposures()
        assert [(e.assigned, e.served, e.error) for e in exposures] == [("v2", "v1", "busy")] * 6
        assert service.traces[-1].error == "busy"


class TestSplits:
    def test_a_user_is_answered_by_the_same_version_again_and_again(self, service: Service) -> None:
        service.try_out(**PARALLEL | {"weight": 0.5})
        seen = {
            user: {service.classify(KOALA, x_user_id=user).json()["version"] for _ in range(3)}
            for user in "abcdefghij"
        }
        assert {len(versions) for versions in seen.values()} == {1}
        assert set().union(*seen.values()) == {"v1", "v2"}

    def test_a_blind_test_hides_which_version_it_was(self, service: Service) -> None:
        service.try_out(**AB, weight=1.0, reveal_version=False)
        response = service.classify(image("cat"))
        assert response.json()["reason"] == "split"
        assert "version" not in response.json()
        assert "x-served-version" not in response.headers
        assert service.exposures()[0].served == "v2"


class TestShadow:
    @pytest.mark.parametrize("fate", FATES)
    def test_it_answers_as_single_does_whatever_becomes_of_the_candidate(
        self, service: Service, fate: str
    ) -> None:
        requests: list[tuple[bytes, dict[str, str]]] = [
            *((each, {"x_user_id": "anna", "x_canary": "always"}) for each in IMAGES),
            (BROKEN, {}),
            (b"", {}),
            (KOALA, {"x_canary": "perhaps"}),
            (KOALA, {"x_model_version": "v2"}),
            (KOALA, {"x_region": "AU"}),
        ]
        service.apply_rule(stable="v1")
        alone = [facts(service.classify(content, **told)) for content, told in requests]
        service.try_out(**SHADOW, timeout_s=0.05)
        meet(service, FATES[fate])
        shadowed = [facts(service.classify(content, **told)) for content, told in requests]
        assert shadowed == alone
        assert [status for status, *_ in alone] == [200] * 6 + [422, 422, 400, 403, 200]
        service.run(until(lambda: service.plane.mirror.in_flight == 0))
        pairs = service.pairs()
        assert len(pairs) == 7  # one for each image that was answered
        outcomes = {pair.outcome for pair in pairs}
        if fate in ("fine", "absent"):
            assert outcomes == {"copied" if fate == "fine" else "shed"}
        else:
            assert "failed" in outcomes <= {"failed", "shed"}

    def test_a_batch_leaves_a_pair_for_each_of_its_images(self, service: Service) -> None:
        service.try_out(**SHADOW)
        assert infer(service, IMAGES).status_code == 200
        service.run(until(lambda: service.plane.mirror.in_flight == 0))
        exposures, pairs = service.exposures(), service.pairs()
        assert [(p.writer, p.sequence) for p in pairs] == [
            (e.writer, e.sequence) for e in exposures
        ]
        assert [p.label for p in pairs] == ["cat", "cat", "dog", "dog", "koala", "koala"]
        assert {p.outcome for p in pairs} == {"copied"}

    def test_a_batch_that_exceeds_what_the_candidate_may_owe_is_shed_as_one(
        self, service: Service
    ) -> None:
        service.try_out(**SHADOW, max_in_flight=6)
        service.pools.fates["v2"] = gate = asyncio.Event()
        service.classify()
        assert infer(service, IMAGES).status_code == 200
        gate.set()
        service.run(until(lambda: service.plane.mirror.in_flight == 0))
        found = {p.sequence: (p.outcome, p.error) for p in service.pairs()}
        assert found.pop(1) == ("copied", None)
        assert list(found.values()) == [("shed", "full")] * 6

    def test_a_batch_that_is_larger_than_that_is_copied_when_the_candidate_owes_none(
        self, service: Service
    ) -> None:
        service.try_out(**SHADOW, max_in_flight=5)
        assert infer(service, IMAGES).status_code == 200
        service.run(until(lambda: service.plane.mirror.in_flight == 0))
        assert [(p.outcome, p.error) for p in service.pairs()] == [("copied", None)] * 6

    def test_it_is_the_copy_that_waits_and_never_the_caller(self, service: Service) -> None:
        service.try_out(**SHADOW)
        service.pools.fates["v2"] = asyncio.Event()
        for _ in range(3):
            assert service.classify(KOALA).status_code == 200
        assert service.plane.mirror.in_flight == 3


def facts(response: httpx.Response) -> tuple[Any, ...]:
    """What a caller may rely on; ids and times differ from answer to answer."""
    told = ("label", "confidence", "probabilities", "version", "reason", "code", "detail")
    headers = ("x-served-version", "x-assignment-reason", "content-type")
    return (
        response.status_code,
        *(response.json().get(key) for key in told),
        *(response.headers.get(name) for name in headers),
    )
