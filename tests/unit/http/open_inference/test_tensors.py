"""Malformed inference requests: each is a client error."""

from __future__ import annotations

import base64
import codecs
import json
import struct
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serve_app.errors import BadBody, BadTensor
from serve_app.http.open_inference.tensors import HEADER_LENGTH, OUTPUTS, parse_request
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


TENSOR = image_tensor()["inputs"][0]
NULLS: list[dict[str, Any]] = [
    {"id": None},
    {"outputs": None},
    {"outputs": []},
    {"parameters": None},
    {"parameters": {"binary_data_output": None, "timeout": None, "sequence_id": None}},
    {"inputs": [TENSOR | {"parameters": None}]},
    {"inputs": [TENSOR | {"parameters": {"binary_data_size": None}}]},
    {"inputs": [TENSOR | {"parameters": {"binary_data_size": 0}}]},
    {"outputs": [{"name": name, "parameters": {"classification": 0}} for name in OUTPUTS]},
    {"inputs": [TENSOR | {"parameters": {"shared_memory_region": None}}]},
    {"outputs": [{"name": "label", "parameters": None}, {"name": "probabilities"}]},
    {
        "outputs": [
            {"name": "label", "parameters": {"binary_data": None, "classification": None}},
            {"name": "probabilities", "parameters": {"shared_memory_offset": None}},
        ]
    },
    {"id": None, "outputs": None, "parameters": None, "inputs": [TENSOR | {"parameters": None}]},
]


@pytest.mark.parametrize("changes", NULLS, ids=lambda changes: str(changes)[:60])
def test_a_null_or_an_empty_value_is_a_key_left_out(
    shared: Service, changes: dict[str, Any]
) -> None:
    def outputs(content: dict[str, Any]) -> Any:
        response = shared.request("POST", INFER, content=json.dumps(content).encode())
        assert response.status_code == 200, response.text
        assert "id" not in response.json()
        return response.json()["outputs"]

    assert outputs(image_tensor() | changes) == outputs(image_tensor())


@pytest.mark.parametrize("data", [b"null", b"[]"])
def test_empty_data_are_data_left_out(shared: Service, data: bytes) -> None:
    body, head = binary(image_tensor(), element(CAT))
    with_data = body.replace(b'"parameters"', b'"data": %s, "parameters"' % data)
    assert post(shared, with_data, str(int(head) + len(with_data) - len(body))) == (200, "")


def test_an_empty_header_length_is_none(shared: Service) -> None:
    assert post(shared, image_tensor(), "") == (200, "")


@pytest.mark.parametrize("one", ["1", "1.0", "1e0", "10e-1", "0.1E+1"])
def test_a_number_may_have_any_spelling(shared: Service, one: str) -> None:
    body = json.dumps(pixels(shape=["ONE", "ONE", "ONE", 3], data=["ONE", 2.0, 3])).encode()
    assert post(shared, body.replace(b'"ONE"', one.encode())) == (200, "")
    body, head = binary(pixels(), b"\1\2\3")
    spelled = body.replace(b'"binary_data_size": 3', b'"binary_data_size": %s' % b"3.0")
    assert post(shared, spelled, str(int(head) + 2)) == (200, "")


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {"timeout": 0, "priority": 0, "sequence_id": 0, "sequence_start": False}},
        {"parameters": {"sequence_id": "", "color": "red", "triton_more": [1]}},
        {"inputs": [TENSOR | {"parameters": {"content_type": "base64", "timeout": 5}}]},
        {"outputs": [{"name": "label", "datatype": "BYTES", "parameters": {"unknown": 1}}]},
        {"unknown": {"a": [None]}},
    ],
)
def test_defaults_and_unknown_parameters_are_accepted(
    shared: Service, changes: dict[str, Any]
) -> None:
    assert post(shared, image_tensor() | changes) == (200, "")


def test_a_byte_order_mark_before_the_json_is_ignored(shared: Service) -> None:
    assert post(shared, codecs.BOM_UTF8 + json.dumps(image_tensor()).encode()) == (200, "")


def test_base64_is_read_as_tools_write_it(shared: Service) -> None:
    for text in (base64.encodebytes(CAT).decode(), f"data:image/png;base64,{TEXT}"):
        assert post(shared, image_tensor(data=[text])) == (200, "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"parameters": {"timeout": 5}}, "the request has the parameter timeout"),
        ({"outputs": [{"name": "label"}] * 2}, "'label' is requested twice"),
        ({"inputs": [TENSOR | {"data": [7]}]}, "element 0 is a number: send"),
        ({"inputs": [TENSOR | {"data": [{"b64": TEXT}]}]}, "element 0 is an object: send"),
        ({"inputs": [TENSOR | {"data": [f"data:image/png,{TEXT}"]}]}, "send one with ';base64,'"),
    ],
)
def test_a_refusal_says_what_is_wrong(shared: Service, changes: dict[str, Any], words: str) -> None:
    content = json.dumps(image_tensor() | changes).encode()
    response = shared.request("POST", INFER, content=content)
    assert response.status_code == 422
    assert words in response.json()["detail"]


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
        b'{"a":' * 500,
        b'{"inputs": [], "inputs": []}',
        json.dumps(image_tensor()).replace('"shape"', '"data": null, "data"').encode(),
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
        image_tensor() | {"parameters": {"binary_data_output": 1}},
        image_tensor() | {"outputs": [None]},
        image_tensor() | {"outputs": [{"name": "label", "parameters": {"binary_data": "true"}}]},
        *(
            image_tensor()
            | {"outputs": [{"name": "probabilities", "parameters": {"classification": value}}]}
            for value in (-1, True, "2", 1.5)
        ),
        image_tensor(shape=[True]),
        image_tensor(shape=["1"]),
        image_tensor(shape=[1] * 5000),
        image_tensor(parameters={"binary_data_size": "5"}),
        image_tensor(parameters={"binary_data_size": True}),
        b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[1e400]}]}',
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
        image_tensor(data=[TEXT.rstrip("=")[:-3]]),
        image_tensor(data=[f"data:image/png,{TEXT}"]),
        image_tensor(data=[TEXT, [TEXT]], shape=[2]),
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
        image_tensor(shape=[1] * 16),
        image_tensor(shape=[10**200]),
        image_tensor() | {"outputs": [{"name": "label"}, {"name": "label"}]},
        image_tensor() | {"parameters": {"sequence_id": 7}},
        image_tensor() | {"parameters": {"sequence_id": "s", "sequence_start": True}},
        image_tensor() | {"parameters": {"priority": 1}},
        image_tensor() | {"parameters": {"timeout": 1000}},
        image_tensor(data=None, parameters={"shared_memory_region": "r"}),
        image_tensor()
        | {"outputs": [{"name": "label", "parameters": {"shared_memory_region": "r"}}]},
        image_tensor(data=[], parameters={"binary_data_size": 0}),
        image_tensor(parameters={"binary_data_size": 9}),
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
        pixels(data=[1, 2, "3"]),
        pixels(data=[1, 2, True]),
        pixels(data=[1, 2, [3]]),
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


@pytest.mark.parametrize("head", ["-1", "x", "1.5", "²", "٣", "9" * 13, "999999", "9" * 5000])
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


# Each is parsed into up to two million objects, which takes a second and 300 MB.
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b'{"":1},', "times '{', expected at most 1000"),
        (b"{},", "times '{', expected at most 1000"),
        (b"[],", r"times '\[', expected at most 100000"),
        (b"1,", "times ',', expected at most 1001000"),
        (b'"",', "times '\"', expected at most 10000"),
        (b'"a":1,', "times ':', expected at most 1000"),
    ],
)
def test_the_number_of_values_in_json_is_limited(value: bytes, words: str) -> None:
    values = value * (9_800_000 // len(value))
    inside = b'{"inputs": [{"name": "pixels", "shape": [1], "datatype": "FP32", "data": [%s1]}]}'
    outside = b'{"inputs": [], "more": {%s"b": 1}}'
    body = (outside if b'"a"' in value else inside) % values
    started = time.process_time()
    with pytest.raises(BadBody, match=words):
        parse_request(body, None)
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize(("side", "is_nested"), [(300, True), (577, False)])
def test_an_image_of_many_numbers_is_read(side: int, is_nested: bool) -> None:
    values = np.zeros((1, side, side, 3), int)
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": values.shape}
    data = values.tolist() if is_nested else values.ravel().tolist()
    body = json.dumps({"inputs": [tensor | {"data": data}]}).encode()
    assert parse_request(body, None).images[0].area() == side * side


def test_empty_binary_elements_are_not_cut_beyond_the_shape() -> None:
    body, head = binary(image_tensor(shape=[2]), element(b"") * 2_500_000)
    started = time.process_time()
    with pytest.raises(BadTensor, match="2 elements and 9999992 more bytes"):
        parse_request(body, head)
    assert time.process_time() - started < 0.2


def test_empty_lists_are_limited_like_elements() -> None:
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 8, 8, 3], "data": [[]] * 19_000}
    with pytest.raises(BadTensor, match="are 0 numbers"):
        parse_request(json.dumps({"inputs": [tensor]}).encode(), None)
    nested = np.zeros((1, 8, 8, 3), int).tolist()
    assert parse_request(json.dumps({"inputs": [tensor | {"data": nested}]}).encode(), None).images
