"""The Open Inference Protocol, spoken by its public client: the requests are built and the
answers are read by `tritonclient`, only the network between is left out."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.http import (
    InferenceServerClient,
    InferInput,
    InferRequestedOutput,
    InferResult,
)

from models.preprocess import to_pixels
from serve_app.domain import Pool
from serve_app.errors import Busy, TooSlow
from serve_app.http.body_limits import MAX_BODY_BYTES
from serve_app.http.tensors import HEADER_LENGTH
from tests.unit.service import Call, Service, expected, image

ANIMALS = (image("cat"), image("dog"), image("koala"))
INFER = "/v2/models/animals/infer"


def image_input(images: tuple[bytes, ...], *, binary: bool) -> InferInput:
    """The input `image`; tritonclient writes binary data as they are, and JSON as text."""
    tensor = InferInput("image", [len(images)], "BYTES")
    tensor.set_data_from_numpy(np.array(images, dtype=np.object_), binary_data=binary)
    return tensor


def pixels(values: NDArray[Any], *, binary: bool) -> InferInput:
    datatype = {"u": "UINT8", "f": "FP32"}[values.dtype.kind]
    tensor = InferInput("pixels", list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


def send(
    service: Service,
    tensor: InferInput,
    outputs: list[InferRequestedOutput] | None = None,
    path: str = INFER,
    request_id: str = "",
    **headers: str,
) -> httpx.Response:
    body, head = InferenceServerClient.generate_request_body(
        [tensor], outputs=outputs, request_id=request_id
    )
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if head is not None:
        sent |= {HEADER_LENGTH: str(head), "content-type": "application/octet-stream"}
    return service.ask("POST", path, content=body, headers=sent)


def understood(response: httpx.Response) -> InferResult:
    assert response.status_code == 200, response.text
    head = response.headers.get(HEADER_LENGTH)
    return InferenceServerClient.parse_response_body(
        response.content, header_length=int(head) if head else None
    )


def labels(result: InferResult) -> list[str]:
    found = result.as_numpy("label")
    return [text.decode() if isinstance(text, bytes) else str(text) for text in found]


class TestImages:
    @pytest.mark.parametrize("count", [1, 3])
    @pytest.mark.parametrize("binary_answer", [True, False])
    def test_encoded_images_are_answered_in_order(
        self, service: Service, count: int, binary_answer: bool
    ) -> None:
        service.pools.assigned[Pool.STABLE] = "v2"
        outputs = [
            InferRequestedOutput(name, binary_data=binary_answer)
            for name in ("label", "probabilities")
        ]
        result = understood(send(service, image_input(ANIMALS[:count], binary=True), outputs))
        np.testing.assert_allclose(
            result.as_numpy("probabilities"), expected("v2", *ANIMALS[:count]), atol=1e-6
        )
        assert labels(result) == ["cat", "dog", "koala"][:count]
        assert len(service.pools.calls) == 1

    def test_in_json_an_image_is_base64_text(self, service: Service) -> None:
        """tritonclient puts text into JSON as it is."""
        encoded = tuple(base64.b64encode(data) for data in ANIMALS[:2])
        outputs = [InferRequestedOutput("probabilities", binary_data=False)]
        result = understood(send(service, image_input(encoded, binary=False), outputs))
        np.testing.assert_allclose(
            result.as_numpy("probabilities"), expected("v1", *ANIMALS[:2]), atol=1e-6
        )

    def test_images_may_stand_in_a_column(self, service: Service) -> None:
        tensor = InferInput("image", [2, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[ANIMALS[0]], [ANIMALS[1]]], dtype=np.object_))
        assert labels(understood(send(service, tensor))) == ["cat", "dog"]

    def test_a_broken_image_is_rejected_by_kind(self, service: Service) -> None:
        response = send(service, image_input((ANIMALS[0], b"no image"), binary=True))
        assert (response.status_code, response.json()["code"]) == (422, "unsupported_image")
        assert response.json()["error"] == response.json()["detail"]
        assert service.exposures() == []


class TestPixels:
    @pytest.mark.parametrize("binary", [True, False])
    def test_pixels_of_the_networks_size_are_answered_as_the_image(
        self, service: Service, binary: bool
    ) -> None:
        values = to_pixels(ANIMALS[0], 112)[None]
        result = understood(send(service, pixels(values, binary=binary)))
        np.testing.assert_allclose(
            result.as_numpy("probabilities"), expected("v1", ANIMALS[0]), atol=1e-6
        )

    @pytest.mark.parametrize("scale", [1.0, 255.0])
    def test_fractions_may_reach_1_or_255(self, service: Service, scale: float) -> None:
        values = (to_pixels(ANIMALS[1], 112)[None] / 255 * scale).astype(np.float32)
        result = understood(send(service, pixels(values, binary=True)))
        np.testing.assert_allclose(
            result.as_numpy("probabilities"), expected("v1", ANIMALS[1]), atol=1e-5
        )

    @pytest.mark.parametrize("shape", [(2, 40, 60, 3), (1, 1, 1, 3), (1, 1, 5000, 3)])
    def test_pixels_of_any_size_are_shrunk(self, service: Service, shape: tuple[int, ...]) -> None:
        values = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
        understood(send(service, pixels(values, binary=True)))
        assert service.pools.calls == [Call(Pool.STABLE, None, (shape[0], 112, 112, 3))]


class TestAnswers:
    def test_all_outputs_are_given_when_none_is_named(self, service: Service) -> None:
        body = understood(send(service, image_input(ANIMALS, binary=True))).get_response()
        assert [(o["name"], o["datatype"], o["shape"]) for o in body["outputs"]] == [
            ("label", "BYTES", [3]),
            ("probabilities", "FP32", [3, 2]),
        ]

    def test_only_the_named_outputs_are_given_in_their_order(self, service: Service) -> None:
        names = ["probabilities", "label"]
        outputs = [InferRequestedOutput(name, binary_data=True) for name in names]
        result = understood(send(service, image_input(ANIMALS, binary=True), outputs))
        assert [output["name"] for output in result.get_response()["outputs"]] == names
        one = [InferRequestedOutput("label", binary_data=True)]
        result = understood(send(service, image_input(ANIMALS, binary=True), one))
        assert result.as_numpy("probabilities") is None

    def test_the_answer_tells_who_gave_it_and_names_each_prediction(self, service: Service) -> None:
        result = understood(send(service, image_input(ANIMALS, binary=True), request_id="42"))
        body = result.get_response()
        assert (body["model_name"], body["model_version"], body["id"]) == ("animals", "v1", "42")
        parameters = body["parameters"]
        assert (parameters["rule"], parameters["reason"]) == ("single", "static")
        assert parameters["labels"] == "cat,dog"
        ids = parameters["prediction_ids"].split(",")
        assert [service.id_codec.decode(name).sequence for name in ids] == [1, 2, 3]

    def test_one_request_has_one_plan_and_an_exposure_for_each_image(
        self, service: Service
    ) -> None:
        send(service, image_input(ANIMALS, binary=True), x_user_id="anna", x_region="AU")
        exposures = service.exposures()
        assert [exposure.sequence for exposure in exposures] == [1, 2, 3]
        assert {(e.user, e.region) for e in exposures} == {
            (service.pseudonymizer.pseudonym("anna"), "AU")
        }
        assert service.traces[0].images == 3

    def test_a_blind_rule_hides_the_version(self, service: Service) -> None:
        service.apply_rule(reveal_version=False)
        body = understood(send(service, image_input(ANIMALS, binary=True))).get_response()
        assert "model_version" not in body


class TestVersions:
    PINNED = "/v2/models/animals/versions/v2/infer"

    def test_a_version_in_the_path_is_a_pin(self, service: Service) -> None:
        service.apply_rule(allow_pin=True)
        result = understood(send(service, image_input(ANIMALS, binary=True), path=self.PINNED))
        assert result.get_response()["model_version"] == "v2"
        assert labels(result) == ["cat", "dog", "koala"]
        assert {exposure.reason for exposure in service.exposures()} == {"pinned"}

    def test_it_is_rejected_where_the_rule_allows_no_pins(self, service: Service) -> None:
        response = send(service, image_input(ANIMALS, binary=True), path=self.PINNED)
        assert (response.status_code, response.json()["code"]) == (403, "pin_rejected")

    def test_it_is_rejected_and_never_ignored_where_the_rule_trusts_nobody(
        self, service: Service
    ) -> None:
        service.apply_rule(allow_pin=True, trust_headers=False)
        response = send(service, image_input(ANIMALS, binary=True), path=self.PINNED)
        assert (response.status_code, response.json()["code"]) == (403, "pin_rejected")
        assert service.pools.calls == []

    def test_path_and_header_must_agree(self, service: Service) -> None:
        service.apply_rule(allow_pin=True)
        tensor = image_input(ANIMALS, binary=True)
        agreed = send(service, tensor, path=self.PINNED, x_model_version="v2")
        assert agreed.status_code == 200
        response = send(service, tensor, path=self.PINNED, x_model_version="v1")
        assert (response.status_code, response.json()["code"]) == (400, "bad_header")

    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("/v2/models/animals/versions/v9/infer", "unknown_version"),
            ("/v2/models/zebras/infer", "unknown_model"),
            ("/v2/models/zebras/versions/v1/infer", "unknown_model"),
        ],
    )
    def test_what_is_not_there_is_not_found(self, service: Service, path: str, code: str) -> None:
        service.apply_rule(allow_pin=True)
        response = send(service, image_input(ANIMALS, binary=True), path=path)
        assert (response.status_code, response.json()["code"]) == (404, code)


class TestFailures:
    @pytest.mark.parametrize(("failure", "status"), [(Busy("full"), 429), (TooSlow("late"), 504)])
    def test_a_pool_that_cannot_answer_is_said_so(
        self, service: Service, failure: Exception, status: int
    ) -> None:
        service.pools.script.append(failure)
        assert send(service, image_input(ANIMALS, binary=True)).status_code == status
        assert [exposure.label for exposure in service.exposures()] == [None] * 3

    def test_a_body_above_the_limit_is_rejected(self, service: Service) -> None:
        response = send(service, image_input((bytes(MAX_BODY_BYTES),), binary=True))
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")

    def test_a_compressed_body_is_rejected(self, service: Service) -> None:
        response = send(service, image_input(ANIMALS, binary=True), content_encoding="gzip")
        assert response.status_code == 415


class TestMetadata:
    def test_the_server_names_its_extensions(self, service: Service) -> None:
        assert service.ask("GET", "/v2").json()["extensions"] == ["binary_tensor_data"]

    def test_the_model_tells_what_it_takes_and_gives(self, service: Service) -> None:
        body = service.ask("GET", "/v2/models/animals").json()
        assert (body["name"], body["versions"]) == ("animals", ["v1", "v2"])
        assert [tensor["name"] for tensor in body["inputs"]] == ["image", "pixels"]
        assert [tensor["name"] for tensor in body["outputs"]] == ["label", "probabilities"]
        assert body["parameters"]["labels"] == "cat,dog"

    def test_a_version_tells_its_own_labels(self, service: Service) -> None:
        body = service.ask("GET", "/v2/models/animals/versions/v2").json()
        assert body["parameters"]["labels"] == "cat,dog,koala"

    def test_readiness_is_that_of_the_pools(self, service: Service) -> None:
        paths = ("/v2/health/ready", "/v2/models/animals/ready")
        assert [service.ask("GET", path).status_code for path in paths] == [200, 200]
        service.pools.assigned.clear()
        assert [service.ask("GET", path).status_code for path in paths] == [503, 503]
        assert service.ask("GET", "/v2/health/live").status_code == 200

    @pytest.mark.parametrize("end", ["", "/ready", "/versions/v1/ready"])
    def test_another_model_is_not_found(self, service: Service, end: str) -> None:
        assert service.ask("GET", f"/v2/models/zebras{end}").status_code == 404
