"""The Open Inference Protocol. `tritonclient` builds the requests and parses the responses; only
the network is missing."""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable
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
from serve_app.errors import Busy, TooSlow
from serve_app.http.body_limits import MAX_BODY_BYTES
from serve_app.http.open_inference.tensors import HEADER_LENGTH
from serve_app.rules.plan import Pool
from tests.unit.service import Call, Service, expected_probabilities, image

ANIMALS = (image("cat"), image("dog"), image("koala"))
INFER = "/v2/models/animals/infer"


def image_input(images: tuple[bytes, ...], *, binary: bool) -> InferInput:
    """The input `image`; tritonclient writes binary data unchanged, and JSON as text."""
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
    return service.request("POST", path, content=body, headers=sent)


def parse(response: httpx.Response) -> InferResult:
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
    @pytest.mark.parametrize("binary_output", [True, False])
    def test_encoded_images_are_classified_in_order(
        self, service: Service, count: int, binary_output: bool
    ) -> None:
        service.pools.assigned[Pool.STABLE] = "v2"
        outputs = [
            InferRequestedOutput(name, binary_data=binary_output)
            for name in ("label", "probabilities")
        ]
        result = parse(send(service, image_input(ANIMALS[:count], binary=True), outputs))
        np.testing.assert_allclose(
            result.as_numpy("probabilities"),
            expected_probabilities("v2", *ANIMALS[:count]),
            atol=1e-6,
        )
        assert labels(result) == ["cat", "dog", "koala"][:count]
        assert len(service.pools.calls) == 1

    def test_an_image_in_json_is_base64_text(self, service: Service) -> None:
        """tritonclient writes text into JSON unchanged."""
        encoded = tuple(base64.b64encode(data) for data in ANIMALS[:2])
        outputs = [InferRequestedOutput("probabilities", binary_data=False)]
        result = parse(send(service, image_input(encoded, binary=False), outputs))
        np.testing.assert_allclose(
            result.as_numpy("probabilities"), expected_probabilities("v1", *ANIMALS[:2]), atol=1e-6
        )

    @pytest.mark.parametrize("binary", [True, False])
    @pytest.mark.parametrize(
        ("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
    )
    def test_a_body_may_have_a_content_coding(
        self, service: Service, coding: str, compress: Callable[[bytes], bytes], binary: bool
    ) -> None:
        """The length of the JSON is that in the unpacked body."""
        images = ANIMALS if binary else tuple(base64.b64encode(data) for data in ANIMALS)
        body, head = InferenceServerClient.generate_request_body(
            [image_input(images, binary=binary)]
        )
        headers = {"content-encoding": coding} | ({HEADER_LENGTH: str(head)} if head else {})
        response = service.request("POST", INFER, content=compress(body), headers=headers)
        assert labels(parse(response)) == ["cat", "dog", "dog"]

    def test_images_may_have_the_shape_n_by_1(self, service: Service) -> None:
        tensor = InferInput("image", [2, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[ANIMALS[0]], [ANIMALS[1]]], dtype=np.object_))
        assert labels(parse(send(service, tensor))) == ["cat", "dog"]

    def test_an_invalid_image_is_rejected_with_its_code(self, service: Service) -> None:
        response = send(service, image_input((ANIMALS[0], b"not an image"), binary=True))
        assert (response.status_code, response.json()["code"]) == (422, "unsupported_image")
        assert response.json()["error"] == response.json()["detail"]
        assert service.exposures() == []


class TestPixels:
    @pytest.mark.parametrize("binary", [True, False])
    def test_pixels_of_the_input_size_are_classified_like_the_image(
        self, service: Service, binary: bool
    ) -> None:
        values = to_pixels(ANIMALS[0], 112)[None]
        result = parse(send(service, pixels(values, binary=binary)))
        np.testing.assert_allclose(
            result.as_numpy("probabilities"), expected_probabilities("v1", ANIMALS[0]), atol=1e-6
        )

    @pytest.mark.parametrize("scale", [1.0, 255.0])
    def test_floats_may_range_to_1_or_to_255(self, service: Service, scale: float) -> None:
        values = (to_pixels(ANIMALS[1], 112)[None] / 255 * scale).astype(np.float32)
        result = parse(send(service, pixels(values, binary=True)))
        np.testing.assert_allclose(
            result.as_numpy("probabilities"), expected_probabilities("v1", ANIMALS[1]), atol=1e-5
        )

    @pytest.mark.parametrize("shape", [(2, 40, 60, 3), (1, 1, 1, 3), (1, 1, 5000, 3)])
    def test_pixels_of_any_size_are_resized(self, service: Service, shape: tuple[int, ...]) -> None:
        values = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
        parse(send(service, pixels(values, binary=True)))
        assert service.pools.calls == [Call(Pool.STABLE, None, (shape[0], 112, 112, 3))]


class TestResponses:
    def test_all_outputs_are_returned_by_default(self, service: Service) -> None:
        body = parse(send(service, image_input(ANIMALS, binary=True))).get_response()
        assert [(o["name"], o["datatype"], o["shape"]) for o in body["outputs"]] == [
            ("label", "BYTES", [3]),
            ("probabilities", "FP32", [3, 2]),
        ]

    def test_requested_outputs_are_returned_in_their_order(self, service: Service) -> None:
        names = ["probabilities", "label"]
        outputs = [InferRequestedOutput(name, binary_data=True) for name in names]
        result = parse(send(service, image_input(ANIMALS, binary=True), outputs))
        assert [output["name"] for output in result.get_response()["outputs"]] == names
        one = [InferRequestedOutput("label", binary_data=True)]
        result = parse(send(service, image_input(ANIMALS, binary=True), one))
        assert result.as_numpy("probabilities") is None

    def test_the_response_has_version_reason_and_prediction_ids(self, service: Service) -> None:
        result = parse(send(service, image_input(ANIMALS, binary=True), request_id="42"))
        body = result.get_response()
        assert (body["model_name"], body["model_version"], body["id"]) == ("animals", "v1", "42")
        parameters = body["parameters"]
        assert (parameters["rule"], parameters["reason"]) == ("single", "static")
        assert parameters["labels"] == "cat,dog"
        ids = parameters["prediction_ids"].split(",")
        assert [service.id_codec.decode(name).sequence for name in ids] == [1, 2, 3]

    def test_a_request_has_one_exposure_per_image(self, service: Service) -> None:
        send(service, image_input(ANIMALS, binary=True), x_user_id="anna", x_region="AU")
        exposures = service.exposures()
        assert [exposure.sequence for exposure in exposures] == [1, 2, 3]
        assert {(e.user, e.region) for e in exposures} == {
            (service.pseudonymizer.pseudonym("anna"), "AU")
        }
        assert service.traces[0].images == 3

    def test_reveal_version_false_hides_the_version(self, service: Service) -> None:
        service.apply_rule(reveal_version=False)
        body = parse(send(service, image_input(ANIMALS, binary=True))).get_response()
        assert "model_version" not in body


class TestClassification:
    @pytest.mark.parametrize("binary", [True, False])
    @pytest.mark.parametrize(("asked", "returned"), [(1, 1), (2, 2), (3, 3), (1000, 3)])
    def test_the_most_probable_labels_are_texts(
        self, service: Service, binary: bool, asked: int, returned: int
    ) -> None:
        service.pools.assigned[Pool.STABLE] = "v2"
        outputs = [InferRequestedOutput("probabilities", binary_data=binary, class_count=asked)]
        result = parse(send(service, image_input(ANIMALS, binary=True), outputs))
        (output,) = result.get_response()["outputs"]
        assert (output["datatype"], output["shape"]) == ("BYTES", [3, returned])
        expected = expected_probabilities("v2", *ANIMALS)
        for row, texts in zip(expected, result.as_numpy("probabilities"), strict=True):
            parts = [(t.decode() if isinstance(t, bytes) else t).split(":") for t in texts]
            order = [int(index) for _, index, _ in parts]
            assert [label for *_, label in parts] == [["cat", "dog", "koala"][i] for i in order]
            values = [float(value) for value, *_ in parts]
            np.testing.assert_allclose(values, row[order], atol=1e-6)
            np.testing.assert_allclose(values, np.sort(row)[::-1][:returned], atol=1e-6)

    def test_labels_have_no_classification(self, service: Service) -> None:
        outputs = [InferRequestedOutput("label", class_count=1)]
        response = send(service, image_input(ANIMALS, binary=True), outputs)
        assert (response.status_code, response.json()["code"]) == (422, "bad_tensor")
        assert "classification of 'probabilities'" in response.json()["detail"]


class TestConfiguration:
    def test_the_configuration_agrees_with_the_metadata(self, service: Service) -> None:
        for path in ("/v2/models/animals", "/v2/models/animals/versions/v2"):
            metadata = service.request("GET", path).json()
            config = service.request("GET", f"{path}/config").json()
            assert (config["name"], config["platform"]) == ("animals", metadata["platform"])
            assert config["max_batch_size"] == 64
            for kind in ("input", "output"):
                dimensions = {each["name"]: len(each["dims"]) + 1 for each in config[kind]}
                assert dimensions == {
                    each["name"]: len(each["shape"]) for each in metadata[f"{kind}s"]
                }
            labels_of = config["parameters"]["labels"]["string_value"]
            assert labels_of == metadata["parameters"]["labels"]
            assert config["output"][1]["dims"] == [len(labels_of.split(","))]

    def test_an_unknown_version_has_no_configuration(self, service: Service) -> None:
        for end in ("config", "stats"):
            response = service.request("GET", f"/v2/models/animals/versions/v9/{end}")
            assert (response.status_code, response.json()["code"]) == (404, "unknown_version")

    @pytest.mark.parametrize("body", [b"", b"{}", b'{"ready": false}', b'{"ready": null}'])
    def test_the_index_lists_all_versions(self, service: Service, body: bytes) -> None:
        index = service.request("POST", "/v2/repository/index", content=body).json()
        assert [(each["version"], each["state"]) for each in index] == [
            ("v1", "READY"),
            ("v2", "UNAVAILABLE"),
        ]
        assert [bool(each["reason"]) for each in index] == [False, True]

    def test_the_index_may_list_only_the_versions_that_are_ready(self, service: Service) -> None:
        response = service.request("POST", "/v2/repository/index", json={"ready": True})
        assert [each["version"] for each in response.json()] == ["v1"]

    @pytest.mark.parametrize("body", [b"[]", b"null", b'{"ready": 1}', b"{", b"\xff"])
    def test_an_invalid_index_request_is_rejected(self, service: Service, body: bytes) -> None:
        response = service.request("POST", "/v2/repository/index", content=body)
        assert (response.status_code, response.json()["code"]) == (400, "bad_body")


class TestStatistics:
    STATS = "/v2/models/stats"

    def stats(self, service: Service, path: str = STATS) -> dict[str, Any]:
        response = service.request("GET", path)
        return {each["version"]: each for each in response.json()["model_stats"]}

    def test_successful_requests_and_their_images_are_counted(self, service: Service) -> None:
        assert self.stats(service)["v1"]["last_inference"] == 0
        for count in (1, 3):
            send(service, image_input(ANIMALS[:count], binary=True))
        counted = self.stats(service)["v1"]
        assert counted["inference_count"] == 4
        assert counted["last_inference"] > 1.7e12
        durations = counted["inference_stats"]
        assert durations["success"]["count"] == durations["compute_infer"]["count"] == 2
        assert durations["compute_infer"]["ns"] == 2 * 1_500_000  # the pools report 1.5 ms
        assert durations["success"]["ns"] > 0
        assert durations["fail"]["count"] == 0

    def test_failed_requests_are_counted(self, service: Service) -> None:
        service.pools.next_results.append(TooSlow("late"))
        send(service, image_input(ANIMALS, binary=True))
        send(service, image_input((b"not an image",), binary=True))
        counted = self.stats(service)["v1"]
        assert counted["inference_count"] == 0
        assert counted["inference_stats"]["fail"]["count"] == 2

    def test_each_version_has_its_own_statistics(self, service: Service) -> None:
        service.apply_rule(allow_pin=True)
        send(service, image_input(ANIMALS, binary=True), x_model_version="v2")
        every = self.stats(service)
        assert [each["inference_count"] for each in every.values()] == [0, 3]
        assert every == self.stats(service, "/v2/models/animals/stats")
        assert self.stats(service, "/v2/models/animals/versions/v2/stats") == {"v2": every["v2"]}


class TestVersions:
    PINNED = "/v2/models/animals/versions/v2/infer"

    def test_a_version_in_the_path_pins_it(self, service: Service) -> None:
        service.apply_rule(allow_pin=True)
        result = parse(send(service, image_input(ANIMALS, binary=True), path=self.PINNED))
        assert result.get_response()["model_version"] == "v2"
        assert labels(result) == ["cat", "dog", "koala"]
        assert {exposure.reason for exposure in service.exposures()} == {"pinned"}

    def test_a_pin_is_rejected_if_the_rule_forbids_pins(self, service: Service) -> None:
        response = send(service, image_input(ANIMALS, binary=True), path=self.PINNED)
        assert (response.status_code, response.json()["code"]) == (403, "pin_rejected")

    def test_a_pin_in_the_path_is_rejected_if_the_rule_ignores_headers(
        self, service: Service
    ) -> None:
        service.apply_rule(allow_pin=True, trust_headers=False)
        response = send(service, image_input(ANIMALS, binary=True), path=self.PINNED)
        assert (response.status_code, response.json()["code"]) == (403, "pin_rejected")
        assert service.pools.calls == []

    def test_version_in_path_and_header_must_be_equal(self, service: Service) -> None:
        service.apply_rule(allow_pin=True)
        tensor = image_input(ANIMALS, binary=True)
        equal = send(service, tensor, path=self.PINNED, x_model_version="v2")
        assert equal.status_code == 200
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
    def test_an_unknown_version_or_model_is_not_found(
        self, service: Service, path: str, code: str
    ) -> None:
        service.apply_rule(allow_pin=True)
        response = send(service, image_input(ANIMALS, binary=True), path=path)
        assert (response.status_code, response.json()["code"]) == (404, code)


class TestFailures:
    @pytest.mark.parametrize(("failure", "status"), [(Busy("full"), 429), (TooSlow("late"), 504)])
    def test_a_pool_failure_is_an_error_status(
        self, service: Service, failure: Exception, status: int
    ) -> None:
        service.pools.next_results.append(failure)
        assert send(service, image_input(ANIMALS, binary=True)).status_code == status
        assert [exposure.label for exposure in service.exposures()] == [None] * 3

    def test_a_body_above_the_limit_is_rejected(self, service: Service) -> None:
        response = send(service, image_input((bytes(MAX_BODY_BYTES),), binary=True))
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")

    def test_what_the_body_unpacks_to_is_limited(self, service: Service) -> None:
        body = gzip.compress(bytes(MAX_BODY_BYTES + 1))
        headers = {"content-encoding": "gzip"}
        response = service.request("POST", INFER, content=body, headers=headers)
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


class TestMetadata:
    def test_server_metadata_lists_the_extensions(self, service: Service) -> None:
        extensions = service.request("GET", "/v2").json()["extensions"]
        assert extensions == [
            "binary_tensor_data",
            "classification",
            "model_configuration",
            "statistics",
        ]

    def test_model_metadata_lists_inputs_and_outputs(self, service: Service) -> None:
        body = service.request("GET", "/v2/models/animals").json()
        assert (body["name"], body["versions"]) == ("animals", ["v1", "v2"])
        assert [tensor["name"] for tensor in body["inputs"]] == ["image", "pixels"]
        assert [tensor["name"] for tensor in body["outputs"]] == ["label", "probabilities"]
        assert body["parameters"]["labels"] == "cat,dog"

    def test_version_metadata_has_the_labels_of_the_version(self, service: Service) -> None:
        body = service.request("GET", "/v2/models/animals/versions/v2").json()
        assert body["parameters"]["labels"] == "cat,dog,koala"

    def test_readiness_needs_replicas_in_the_pools(self, service: Service) -> None:
        paths = ("/v2/health/ready", "/v2/models/animals/ready")
        assert [service.request("GET", path).status_code for path in paths] == [200, 200]
        service.pools.assigned.clear()
        service.forget_replicas()
        assert [service.request("GET", path).status_code for path in paths] == [503, 503]
        assert service.request("GET", "/v2/health/live").status_code == 200

    @pytest.mark.parametrize(
        "end", ["", "/ready", "/versions/v1/ready", "/config", "/stats", "/versions/v1/stats"]
    )
    def test_an_unknown_model_is_not_found(self, service: Service, end: str) -> None:
        assert service.request("GET", f"/v2/models/zebras{end}").status_code == 404
