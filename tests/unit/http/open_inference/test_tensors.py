"""Malformed inference requests: each is a client error."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serve_app.errors import BadBody, BadTensor
from serve_app.http.open_inference.tensors import HEADER_LENGTH, parse_request
from tests.unit.service import Service, image

CAT = image("cat")
TEXT = base64.b64encode(CAT).decode()
INFER = "/v2/models/animals/infer"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all examples: rejected requests leave no state."""
    with Service(tmp_path_factory.mktemp("home")) as service:
        yield service


def post(service: Service, body: Any, head: str | None = None) -> tuple[int, str]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if head is None else {HEADER_LENGTH: head}
    response = service.request("POST", INFER, content=content, headers=headers)
    return response.status_code, response.json().get("code", "")


def image_tensor(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [TEXT]}
    return {"inputs": [tensor | changes]}


def pixels(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "pixels", "shape": [1, 1, 1, 3], "datatype": "UINT8", "data": [1, 2, 3]}
    return {"inputs": [tensor | changes]}


def binary(tensor: dict[str, Any], tail: bytes, size: int | None = None) -> tuple[bytes, str]:
    (tensor_json,) = tensor["inputs"]
    tensor_json.pop("data")
    tensor_json["parameters"] = {"binary_data_size": len(tail) if size is None else size}
    head = json.dumps(tensor).encode()
    return head + tail, str(len(head))


def element(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def test_the_unchanged_requests_are_valid(shared: Service) -> None:
    assert post(shared, image_tensor()) == (200, "")
    assert post(shared, pixels()) == (200, "")
    assert post(shared, image_tensor(data=[[TEXT]], shape=[1, 1])) == (200, "")
    assert post(shared, pixels(data=[[[[1, 2, 3]]]])) == (200, "")
    assert post(shared, *binary(image_tensor(), element(CAT))) == (200, "")
    assert post(shared, *binary(pixels(), b"\1\2\3")) == (200, "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{",
        b"\xff",
        b"[" * 100_000,
        {"inputs": {}},
        {"inputs": [None]},
        image_tensor(shape="1"),
        image_tensor(shape=[1.5]),
        image_tensor(shape=[None]),
        image_tensor(datatype=7),
        image_tensor(name=None),
        image_tensor(data={"0": TEXT}),
        image_tensor(parameters=[]),
        image_tensor(parameters={"binary_data_size": -1}),
        image_tensor() | {"outputs": [{}]},
        image_tensor() | {"outputs": "label"},
        image_tensor() | {"id": 7},
        image_tensor() | {"parameters": {"binary_data_output": "perhaps"}},
        b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[1' + b"0" * 5000 + b"]}]}",
    ],
    ids=lambda body: str(body)[:60],
)  # fmt: skip
def test_an_invalid_schema_is_a_bad_body(shared: Service, body: Any) -> None:
    assert post(shared, body) == (400, "bad_body")


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": []},
        {"inputs": image_tensor()["inputs"] * 2},
        image_tensor(name="image-of-a-cat"),
        image_tensor(data=None),
        image_tensor(data=[]),
        image_tensor(data=[TEXT, TEXT]),
        image_tensor(data=[TEXT[:-1]]),
        image_tensor(data=["ä"]),
        image_tensor(data=[7]),
        image_tensor(data=[None]),
        image_tensor(data=[{}]),
        image_tensor(datatype="UINT8"),
        image_tensor(datatype="x" * 500),
        image_tensor(shape=[]),
        image_tensor(shape=[0], data=[]),
        image_tensor(shape=[-1]),
        image_tensor(shape=[2]),
        image_tensor(shape=[1, 2]),
        image_tensor(shape=[65], data=[TEXT] * 65),
        image_tensor(shape=[1] * 5000),
        image_tensor(shape=[10**200]),
        image_tensor(parameters={"binary_data_size": 0}),
        image_tensor() | {"outputs": [{"name": "logits"}]},
        pixels(datatype="INT8"),
        pixels(datatype="FP64"),
        pixels(shape=[1, 3]),
        pixels(shape=[1, 1, 3, 1]),
        pixels(shape=[1, 1, 1, 4], data=[1, 2, 3, 4]),
        pixels(shape=[1, 2**40, 2**40, 3]),
        pixels(shape=[1, 0, 1, 3], data=[]),
        pixels(data=[1, 2]),
        pixels(data=[1, 2, 3, 4]),
        pixels(data=[1, 2, 256]),
        pixels(data=[1, 2, -1]),
        pixels(data=[1, 2, 2.5]),
        pixels(data=[1, 2, None]),
        pixels(data=[1, 2, "red"]),
        pixels(data=[1, 2, {}]),
        pixels(data=[1, 2, 10**400]),
        pixels(datatype="FP32", data=[0, 0, float("nan")]),
        pixels(datatype="FP32", data=[0, 0, float("inf")]),
        pixels(datatype="FP32", data=[0, 0, 255.5]),
    ],
    ids=lambda body: str(body)[:80],
)
def test_an_invalid_tensor_is_a_bad_tensor(shared: Service, body: Any) -> None:
    assert post(shared, body) == (422, "bad_tensor")


@pytest.mark.parametrize(
    ("tail", "size", "code"),
    [
        (b"", None, "bad_tensor"),
        (element(CAT)[:3], None, "bad_tensor"),
        (element(CAT)[:-1], None, "bad_tensor"),
        (element(CAT) + b"\0", None, "bad_tensor"),
        (element(CAT) * 2, None, "bad_tensor"),
        (struct.pack("<I", 2**32 - 1) + CAT, None, "bad_tensor"),
        (element(b""), None, "empty_image"),
        (element(CAT), 10, "bad_body"),
        (element(CAT), 10**9, "bad_body"),
    ],
)
def test_inconsistent_binary_data_is_rejected(
    shared: Service, tail: bytes, size: int | None, code: str
) -> None:
    assert post(shared, *binary(image_tensor(), tail, size))[1] == code


@pytest.mark.parametrize(
    ("datatype", "tail"),
    [
        ("UINT8", b"\1\2"),
        ("UINT8", b"\1\2\3\4"),
        ("FP32", bytes(11)),
        ("FP32", bytes(16)),
        ("FP32", np.array([0, 0, np.nan], "<f4").tobytes()),
        ("FP32", struct.pack("<III", 0, 0, 0x7F800001)),  # a signalling NaN
        ("FP32", np.array([0, 0, -np.inf], "<f4").tobytes()),
    ],
)
def test_invalid_binary_pixels_are_rejected(shared: Service, datatype: str, tail: bytes) -> None:
    assert post(shared, *binary(pixels(datatype=datatype), tail)) == (422, "bad_tensor")


@pytest.mark.parametrize("head", ["", "-1", "x", "1.5", "²", "٣", "9" * 13, "999999", "9" * 5000])
def test_an_invalid_header_length_is_a_bad_body(shared: Service, head: str) -> None:
    body = json.dumps(image_tensor()).encode()
    headers = {HEADER_LENGTH: head.encode()}
    response = shared.request("POST", INFER, content=body, headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "bad_body")
    assert len(response.json()["detail"]) < 200


def test_undeclared_bytes_after_the_json_are_rejected(shared: Service) -> None:
    head = json.dumps(image_tensor()).encode()
    assert post(shared, head + b"\0", str(len(head))) == (400, "bad_body")


def test_an_error_text_is_short_for_any_request(shared: Service) -> None:
    for body in (
        image_tensor(shape=[1] * 100_000),
        {"inputs": [{"name": "x" * 1000, "shape": [1], "datatype": "BYTES"}] * 1000},
        image_tensor(name="x" * 10_000, shape=["x"] * 1000),
    ):
        response = shared.request("POST", INFER, content=json.dumps(body).encode())
        assert response.is_client_error
        assert len(response.content) < 5000


# JSON that resembles a request, with arbitrary values.
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.integers(),
    st.floats(),
    st.sampled_from(["image", "pixels", "BYTES", "UINT8", "FP32", "label", TEXT[:40], ""]),
    st.text(max_size=5),
)
nested = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4), max_leaves=8)
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["image", "pixels"]) | nested,
        "shape": st.lists(st.integers(-1, 5), max_size=5) | nested,
        "datatype": st.sampled_from(["BYTES", "UINT8", "FP32", "INT8"]) | nested,
    },
    optional={
        "data": st.lists(nested, max_size=6),
        "parameters": st.dictionaries(st.just("binary_data_size"), nested),
    },
)
requests = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=2)},
    optional={
        "id": nested,
        "outputs": st.lists(st.dictionaries(st.sampled_from(["name", "parameters"]), nested)),
        "parameters": st.dictionaries(st.just("binary_data_output"), nested),
    },
)


def check_served_or_rejected(service: Service, body: bytes, head: str | None) -> None:
    headers = {} if head is None else {HEADER_LENGTH: head}
    response = service.request("POST", INFER, content=body, headers=headers)
    assert response.status_code in (200, 400, 422)


@settings(max_examples=50)
@given(requests, st.binary(max_size=20), st.sampled_from([None, "exact", "0", "7"]))
def test_arbitrary_json_and_tail_are_served_or_rejected(
    shared: Service, request: dict[str, Any], tail: bytes, length: str | None
) -> None:
    head = json.dumps(request).encode()
    if length == "exact":
        check_served_or_rejected(shared, head + tail, str(len(head)))
    else:
        check_served_or_rejected(shared, head + tail, length)


GOOD = binary(image_tensor(), element(CAT))


@settings(max_examples=50)
@given(st.integers(0, len(GOOD[0]) - 1), st.integers(0, 255))
@example(0, 0)
def test_a_changed_byte_is_served_or_rejected(shared: Service, place: int, byte: int) -> None:
    """Most bytes belong to the image, which may stay valid."""
    for at in (place % int(GOOD[1]), place):
        body = bytearray(GOOD[0])
        body[at] = byte
        check_served_or_rejected(shared, bytes(body), GOOD[1])


@settings(max_examples=50)
@given(st.binary(max_size=60), st.one_of(st.none(), st.integers(0, 70).map(str)))
def test_arbitrary_bytes_are_rejected(shared: Service, body: bytes, head: str | None) -> None:
    check_served_or_rejected(shared, body, head)


@pytest.mark.parametrize("key", ["inputs", "outputs", "shape"])
def test_only_the_first_of_a_million_wrong_entries_is_reported(key: str) -> None:
    """Reporting them all would take too long."""
    wrong = b"[" + b",".join([b'"x"'] * 1_000_000) + b"]"
    tensor = b'{"name": "image", "datatype": "BYTES", "data": [], "shape": %s}' % (
        wrong if key == "shape" else b"[1]"
    )
    body = b'{"inputs": %s, "outputs": %s}' % (
        wrong if key == "inputs" else b"[" + tensor + b"]",
        wrong if key == "outputs" else b"[]",
    )
    with pytest.raises(BadBody) as caught:
        parse_request(body, None)
    assert len(str(caught.value)) < 300


def test_numbers_in_json_are_limited() -> None:
    body = json.dumps(
        {"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, 600, 600, 3], "data": []}]}
    )
    with pytest.raises(BadTensor, match="1080000 numbers, expected at most 1000000 in JSON"):
        parse_request(body.encode(), None)


def test_empty_lists_are_limited_like_elements() -> None:
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 8, 8, 3], "data": [[]] * 100_000}
    with pytest.raises(BadTensor, match="are not 192 numbers"):
        parse_request(json.dumps({"inputs": [tensor]}).encode(), None)
    nested = np.zeros((1, 8, 8, 3), int).tolist()
    assert parse_request(json.dumps({"inputs": [tensor | {"data": nested}]}).encode(), None).images


def test_the_error_text_for_many_dimensions_is_short() -> None:
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1] * 100_000, "data": []}
    with pytest.raises(BadTensor) as caught:
        parse_request(json.dumps({"inputs": [tensor]}).encode(), None)
    assert "of 100000 dimensions: expected UINT8" in str(caught.value)
    assert len(str(caught.value)) < 200
