"""Inference requests and responses of the Open Inference Protocol v2, with its binary extension.

The protocol: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
The extension: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np

from models.network import Floats
from serve_app.data_plane.images import EncodedImage, InputImage, RawImage
from serve_app.errors import BadBody, BadTensor
from serve_app.http.base64_text import decode_base64
from serve_app.http.open_inference.classification import classify
from serve_app.http.open_inference.json_limits import check_json_size
from serve_app.http.open_inference.schema import (
    Input,
    OutputParameters,
    Request,
    RequestParameters,
    parse_json,
)

HEADER_LENGTH = "Inference-Header-Content-Length"
MAX_IMAGES = 64  # per request
IMAGE, PIXELS = "image", "pixels"
LABEL, PROBABILITIES = "label", "probabilities"
OUTPUTS = (LABEL, PROBABILITIES)
_ELEMENT = struct.Struct("<I")  # length prefix of each element of a binary BYTES tensor
_JSON_KINDS = {dict: "an object", list: "a list", bool: "a boolean", type(None): "null"}


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that the response is to have.

    Attributes:
        is_binary: Whether its data are binary rather than JSON.
        classes: The number of the most probable labels to return instead of all probabilities.
    """

    name: str
    is_binary: bool
    classes: int | None = None


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """A parsed inference request.

    Attributes:
        images: The images to classify.
        outputs: The requested outputs in their order.
        id: The id that the response repeats.
    """

    images: list[InputImage]
    outputs: list[RequestedOutput]
    id: str | None = None


def parse_request(body: bytes, header_length: str | None) -> InferenceRequest:
    """Parse the body of an inference request.

    Args:
        header_length: The header `Inference-Header-Content-Length`, the length of the JSON in
            bytes; None or empty if the body is all JSON.

    Raises:
        BadBody: The JSON does not match the schema, is too large, or the lengths are inconsistent.
        BadTensor: The inputs or outputs do not fit the model.
    """
    head, tail = _split_body(body, header_length)
    check_json_size(head)
    request = parse_json(head)
    if len(request.inputs) != 1 or request.inputs[0].name not in (IMAGE, PIXELS):
        names = ", ".join(tensor.name[:50] for tensor in request.inputs) or "none"
        raise BadTensor(f"the inputs are {names}: send one input, '{IMAGE}' or '{PIXELS}'")
    tensor = request.inputs[0]
    raw = _binary_data(tensor, tail)
    if not tensor.shape or min(tensor.shape) < 1 or tensor.shape[0] > MAX_IMAGES:
        raise BadTensor(
            f"the shape of '{tensor.name}' is {tensor.shape}: expected 1 to {MAX_IMAGES}"
            " images in the first dimension, and no dimension below 1"
        )
    outputs = _outputs(request)
    images = _images(tensor, raw) if tensor.name == IMAGE else _pixels(tensor, raw)
    return InferenceRequest(images, outputs, request.id)


def encode_response(
    request: InferenceRequest,
    model: str,
    version: str | None,
    labels: tuple[str, ...],
    probabilities: Floats,
    parameters: dict[str, Any],
) -> tuple[bytes, int | None]:
    """Encode the body of an inference response.

    Args:
        version: The version that made the predictions; None if the rule hides it.
        probabilities: float32 [images, labels].

    Returns:
        The body, and the length of its JSON in bytes if binary data follow it.
    """
    outputs: list[dict[str, Any]] = []
    tail = b""
    for requested in request.outputs:
        output = {"name": requested.name} | _output_tensor(requested, labels, probabilities)
        if requested.is_binary:
            raw = _to_binary(output.pop("data"), output["datatype"])
            output["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
        outputs.append(output)
    content: dict[str, Any] = {"model_name": model}
    if version is not None:
        content["model_version"] = version
    if request.id is not None:
        content["id"] = request.id
    head = json.dumps(content | {"parameters": parameters, "outputs": outputs}).encode()
    is_binary = any(output.is_binary for output in request.outputs)
    return head + tail, len(head) if is_binary else None


def _output_tensor(
    requested: RequestedOutput, labels: tuple[str, ...], probabilities: Floats
) -> dict[str, Any]:
    """The datatype, shape and flat data of an output."""
    if requested.name == LABEL:
        names = [labels[best] for best in probabilities.argmax(axis=1)]
        return {"datatype": "BYTES", "shape": [len(names)], "data": names}
    if requested.classes:
        rows = classify(probabilities, labels, requested.classes)
        shape = [len(rows), len(rows[0])]
        return {"datatype": "BYTES", "shape": shape, "data": list(chain.from_iterable(rows))}
    shape = list(probabilities.shape)
    return {"datatype": "FP32", "shape": shape, "data": probabilities.ravel().tolist()}


def _to_binary(data: list[Any], datatype: str) -> bytes:
    if datatype == "FP32":
        return np.array(data, "<f4").tobytes()
    texts = [text.encode() for text in data]
    return b"".join(_ELEMENT.pack(len(text)) + text for text in texts)


def _split_body(body: bytes, header_length: str | None) -> tuple[bytes, bytes]:
    if not header_length:
        return body, b""
    if not (header_length.isascii() and header_length.isdecimal()) or len(header_length) > 12:
        raise BadBody(
            f"{HEADER_LENGTH} is '{header_length[:50]}': expected the length of the JSON in bytes"
        )
    length = int(header_length)
    if length > len(body):
        raise BadBody(
            f"{HEADER_LENGTH} is {length}, expected at most the {len(body)} bytes of the body"
        )
    return body[:length], body[length:]


def _binary_data(tensor: Input, tail: bytes) -> bytes | None:
    """The binary data of the input; None if the data are in the JSON.

    Some clients write every key: a size of 0, or an empty list of data, is one left out.
    """
    size = tensor.parameters.binary_data_size if tensor.parameters else None
    if not size:
        if tail:
            raise BadBody(f"{len(tail)} bytes follow the JSON: set binary_data_size of the input")
        if tensor.data is None:
            raise BadTensor(
                f"'{tensor.name}' has neither data nor binary_data_size: send one of them"
            )
        return None
    if tensor.data:
        raise BadTensor(f"'{tensor.name}' has both data and binary_data_size: send one of them")
    if size != len(tail):
        raise BadBody(
            f"binary_data_size is {size}, but {len(tail)} bytes follow the JSON: send equal sizes"
        )
    return tail


def _images(tensor: Input, raw: bytes | None) -> list[InputImage]:
    count = tensor.shape[0]
    if tensor.datatype != "BYTES" or tensor.shape not in ([count], [count, 1]):
        raise BadTensor(
            f"'{IMAGE}' is {tensor.datatype[:20]} {tensor.shape}: expected BYTES [n], one"
            " encoded image per element"
        )
    if raw is None:
        texts = _flatten(tensor.data or [])
        if len(texts) != count:
            raise BadTensor(
                f"'{IMAGE}' has {len(texts)} elements, expected {count} as in its shape"
            )
        elements = [_decode_element(index, text) for index, text in enumerate(texts)]
    else:
        elements = _split_elements(raw, count)
    return [EncodedImage(element) for element in elements]


def _decode_element(index: int, text: Any) -> bytes:
    if not isinstance(text, str):
        raise BadTensor(
            f"'{IMAGE}' element {index} is {_JSON_KINDS.get(type(text), 'a number')}: send the"
            " encoded image as base64 text"
        )
    try:
        return decode_base64(text)
    except ValueError as exc:
        raise BadTensor(f"'{IMAGE}' element {index} is not base64 text: {exc}") from exc


def _split_elements(raw: bytes, count: int) -> list[bytes]:
    elements: list[bytes] = []
    start = 0
    while start < len(raw) and len(elements) < count:
        if len(raw) - start < _ELEMENT.size:
            raise BadTensor(f"'{IMAGE}' ends inside the length of element {len(elements)}")
        (length,) = _ELEMENT.unpack_from(raw, start)
        start += _ELEMENT.size
        if length > len(raw) - start:
            raise BadTensor(
                f"'{IMAGE}' element {len(elements)} has the length {length}, but"
                f" {len(raw) - start} bytes follow"
            )
        elements.append(raw[start : start + length])
        start += length
    if start < len(raw) or len(elements) < count:
        raise BadTensor(
            f"'{IMAGE}' has {len(elements)} elements and {len(raw) - start} more bytes, expected"
            f" {count} elements as in its shape"
        )
    return elements


def _pixels(tensor: Input, raw: bytes | None) -> list[InputImage]:
    dtype: Literal["u1", "<f4"] | None = {"UINT8": "u1", "FP32": "<f4"}.get(tensor.datatype)  # type: ignore[assignment]
    if dtype is None or len(tensor.shape) != 4 or tensor.shape[3] != 3:
        raise BadTensor(
            f"'{PIXELS}' is {tensor.datatype[:20]} {tensor.shape}: expected UINT8 or FP32"
            " [n, height, width, 3], RGB"
        )
    try:
        values = _to_numbers(tensor.data or []) if raw is None else np.frombuffer(raw, dtype)
    except (TypeError, ValueError) as exc:
        raise BadTensor(
            f"the data of '{PIXELS}' are not {tensor.datatype} ({exc}): send only numbers"
        ) from exc
    if len(values) != math.prod(tensor.shape):
        raise BadTensor(
            f"the data of '{PIXELS}' are {len(values)} numbers, and its shape is {tensor.shape}:"
            " send as many as its shape says"
        )
    pixels = values.reshape(tensor.shape)
    if pixels.dtype != np.uint8:
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 255:
            raise BadTensor(f"'{PIXELS}' has values outside 0 to 255: send values in 0 to 255")
        if tensor.datatype == "UINT8" and (pixels != np.floor(pixels)).any():
            raise BadTensor(f"'{PIXELS}' is UINT8 and has fractions: send FP32")
    return [RawImage(image, scaled=tensor.datatype == "FP32") for image in pixels]


def _to_numbers(data: list[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """float64 [n]; an integer beyond its range becomes infinite."""
    flat = _flatten(data)
    if not set(map(type, flat)) <= {int, float}:
        raise TypeError("not all of them are numbers")
    try:
        return np.array(flat, np.float64)
    except OverflowError:
        return np.full(len(flat), np.inf)


def _flatten(data: list[Any]) -> list[Any]:
    """Flatten nested lists, which the protocol allows as well as flat ones.

    Returns:
        The elements in order; lists among them stay lists if not all elements are lists.
    """
    while data and set(map(type, data)) == {list}:
        data = list(chain.from_iterable(data))
    return data


def _outputs(request: Request) -> list[RequestedOutput]:
    parameters = request.parameters or RequestParameters()
    default = bool(parameters.binary_data_output)
    if not request.outputs:
        return [RequestedOutput(name, default) for name in OUTPUTS]
    outputs: list[RequestedOutput] = []
    for output in request.outputs:
        if output.name not in OUTPUTS:
            raise BadTensor(
                f"there is no output '{output.name[:50]}': expected {' or '.join(OUTPUTS)}"
            )
        if output.name in {earlier.name for earlier in outputs}:
            raise BadTensor(f"the output '{output.name}' is requested twice: request it once")
        of_output = output.parameters or OutputParameters()
        if of_output.classification and output.name != PROBABILITIES:
            raise BadTensor(
                f"'{output.name}' has no probabilities to classify by: request the parameter"
                f" classification of '{PROBABILITIES}'"
            )
        binary = default if of_output.binary_data is None else of_output.binary_data
        outputs.append(RequestedOutput(output.name, binary, of_output.classification))
    return outputs
