"""Inference requests and responses of the Open Inference Protocol v2, with its binary extension.

The protocol: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
The extension: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.network import Floats
from models.preprocess import MAX_PIXELS
from models.validation import format_findings
from serve_app.data_plane.images import EncodedImage, InputImage, RawImage
from serve_app.errors import BadBody, BadTensor

HEADER_LENGTH = "Inference-Header-Content-Length"
MAX_IMAGES = 64  # per request
MAX_JSON_NUMBERS = 1_000_000  # a JSON number costs 100 times as much as a binary one
IMAGE, PIXELS = "image", "pixels"
LABEL, PROBABILITIES = "label", "probabilities"
OUTPUTS = (LABEL, PROBABILITIES)
_ELEMENT = struct.Struct("<I")  # length prefix of each element of a binary BYTES tensor

# Validation stops at the first wrong entry: a body of 10 MiB may have a million of them.
_FAIL_FAST = Field(fail_fast=True)
_SHORT_LIST = Field(max_length=100, fail_fast=True)


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)  # the protocol requires it


class _InputParameters(_Model):
    binary_data_size: int | None = Field(default=None, ge=0)


class _Input(_Model):
    name: str
    shape: Annotated[list[int], _FAIL_FAST]
    datatype: str
    parameters: _InputParameters = _InputParameters()
    data: list[Any] | None = None


class _OutputParameters(_Model):
    binary_data: bool | None = None


class _Output(_Model):
    name: str
    parameters: _OutputParameters = _OutputParameters()


class _RequestParameters(_Model):
    binary_data_output: bool = False


class _Request(_Model):
    id: str | None = None
    inputs: Annotated[list[_Input], _SHORT_LIST]
    outputs: Annotated[list[_Output], _SHORT_LIST] | None = None
    parameters: _RequestParameters = _RequestParameters()


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """A parsed inference request.

    Attributes:
        images: The images to classify.
        id: The id that the response repeats.
        outputs: The requested outputs in their order; True for binary data, False for JSON.
    """

    images: list[InputImage]
    id: str | None = None
    outputs: dict[str, bool] = field(default_factory=dict)


def parse_request(body: bytes, header_length: str | None) -> InferenceRequest:
    """Parse the body of an inference request.

    Args:
        header_length: The header `Inference-Header-Content-Length`, the length of the JSON in
            bytes; None if the body is all JSON.

    Raises:
        BadBody: The JSON does not match the schema, or the lengths are inconsistent.
        BadTensor: The inputs or outputs do not fit the model.
    """
    head, tail = _split_body(body, header_length)
    try:
        request = _Request.model_validate_json(head)
    except ValidationError as exc:
        raise BadBody(
            f"the inference request is invalid: {format_findings(exc, 'JSON')}; see /openapi.json"
        ) from exc
    if len(request.inputs) != 1 or request.inputs[0].name not in (IMAGE, PIXELS):
        names = ", ".join(tensor.name[:50] for tensor in request.inputs) or "none"
        raise BadTensor(f"the inputs are {names}: send one input, '{IMAGE}' or '{PIXELS}'")
    tensor = request.inputs[0]
    raw = _binary_data(tensor, tail)
    if not tensor.shape or min(tensor.shape) < 1 or tensor.shape[0] > MAX_IMAGES:
        raise BadTensor(
            f"the shape of '{tensor.name}' is {_format_shape(tensor)}: expected 1 to {MAX_IMAGES}"
            " images in the first dimension, and no dimension below 1"
        )
    images = _images(tensor, raw) if tensor.name == IMAGE else _pixels(tensor, raw)
    return InferenceRequest(images, request.id, _outputs(request))


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
    names = [labels[best].encode() for best in probabilities.argmax(axis=1)]
    outputs: list[dict[str, Any]] = []
    tail = b""
    for name, binary in request.outputs.items():
        if name == LABEL:
            shape, datatype = [len(names)], "BYTES"
            data: list[Any] = [text.decode() for text in names]
            raw = b"".join(_ELEMENT.pack(len(text)) + text for text in names)
        else:
            shape, datatype = list(probabilities.shape), "FP32"
            data = probabilities.ravel().tolist()
            raw = probabilities.astype("<f4").tobytes()
        output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
        if binary:
            output["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
        else:
            output["data"] = data
        outputs.append(output)
    content: dict[str, Any] = {"model_name": model}
    if version is not None:
        content["model_version"] = version
    if request.id is not None:
        content["id"] = request.id
    head = json.dumps(content | {"parameters": parameters, "outputs": outputs}).encode()
    return head + tail, len(head) if any(request.outputs.values()) else None


def _split_body(body: bytes, header_length: str | None) -> tuple[bytes, bytes]:
    if header_length is None:
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


def _binary_data(tensor: _Input, tail: bytes) -> bytes | None:
    """The binary data of the input; None if the data are in the JSON."""
    size = tensor.parameters.binary_data_size
    if size is None:
        if tail:
            raise BadBody(f"{len(tail)} bytes follow the JSON: set binary_data_size of the input")
        if tensor.data is None:
            raise BadTensor(
                f"'{tensor.name}' has neither data nor binary_data_size: send one of them"
            )
        return None
    if tensor.data is not None:
        raise BadTensor(f"'{tensor.name}' has both data and binary_data_size: send one of them")
    if size != len(tail):
        raise BadBody(
            f"binary_data_size is {size}, but {len(tail)} bytes follow the JSON: send equal sizes"
        )
    return tail


def _images(tensor: _Input, raw: bytes | None) -> list[InputImage]:
    count = tensor.shape[0]
    if tensor.datatype != "BYTES" or tensor.shape not in ([count], [count, 1]):
        raise BadTensor(
            f"'{IMAGE}' is {tensor.datatype[:20]} {_format_shape(tensor)}: expected BYTES [n], one"
            " encoded image per element"
        )
    elements = _decode_base64(tensor.data or [], count) if raw is None else _split_elements(raw)
    if len(elements) != count:
        raise BadTensor(f"'{IMAGE}' has {len(elements)} elements, expected {count} as in its shape")
    return [EncodedImage(element) for element in elements]


def _decode_base64(data: list[Any], count: int) -> list[bytes]:
    elements = []
    for index, text in enumerate(_flatten(data, count)):
        try:
            elements.append(base64.b64decode(text, validate=True))
        except (TypeError, ValueError, binascii.Error) as exc:
            raise BadTensor(f"'{IMAGE}' element {index} is not base64 text: {exc}") from exc
    return elements


def _split_elements(raw: bytes) -> list[bytes]:
    elements: list[bytes] = []
    start = 0
    while start < len(raw):
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
    return elements


def _pixels(tensor: _Input, raw: bytes | None) -> list[InputImage]:
    dtype: Literal["u1", "<f4"] | None = {"UINT8": "u1", "FP32": "<f4"}.get(tensor.datatype)  # type: ignore[assignment]
    if dtype is None or len(tensor.shape) != 4 or tensor.shape[3] != 3:
        raise BadTensor(
            f"'{PIXELS}' is {tensor.datatype[:20]} {_format_shape(tensor)}: expected UINT8 or FP32"
            " [n, height, width, 3], RGB"
        )
    count = int(np.prod(tensor.shape, dtype=object))
    if count // 3 > MAX_PIXELS:
        raise BadTensor(
            f"'{PIXELS}' {_format_shape(tensor)} has more than {MAX_PIXELS} pixels: send fewer"
        )
    if raw is None and count > MAX_JSON_NUMBERS:
        raise BadTensor(
            f"'{PIXELS}' {_format_shape(tensor)} has {count} numbers, expected at most"
            f" {MAX_JSON_NUMBERS} in JSON: send binary data with binary_data_size"
        )
    try:
        values = (
            np.array([_number(value) for value in _flatten(tensor.data or [], count)], np.float64)
            if raw is None
            else np.frombuffer(raw, dtype)
        )
        pixels = values.reshape(tensor.shape)
    except (TypeError, ValueError, OverflowError) as exc:
        raise BadTensor(
            f"the data of '{PIXELS}' are not {count} numbers of {tensor.datatype}: send as many as"
            " its shape says"
        ) from exc
    if pixels.dtype != np.uint8:
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 255:
            raise BadTensor(f"'{PIXELS}' has values outside 0 to 255: send values in 0 to 255")
        if tensor.datatype == "UINT8" and (pixels != np.floor(pixels)).any():
            raise BadTensor(f"'{PIXELS}' is UINT8 and has fractions: send FP32")
    return [RawImage(image, scaled=tensor.datatype == "FP32") for image in pixels]


def _format_shape(tensor: _Input) -> str:
    """The shape for an error text; only the number of dimensions if it is long."""
    return str(tensor.shape) if len(tensor.shape) <= 5 else f"of {len(tensor.shape)} dimensions"


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _flatten(data: Any, limit: int) -> list[Any]:
    """Flatten nested lists, which the protocol allows as well as flat ones.

    Returns:
        The elements in order; an incomplete list if there are more than `limit` elements or lists.
    """
    flat: list[Any] = []
    stack, lists = [iter(data)], 0
    while stack and max(len(flat), lists) <= limit:
        for element in stack[-1]:
            if isinstance(element, list):
                stack.append(iter(element))
                lists += 1
                break
            flat.append(element)
            if len(flat) > limit:
                break
        else:
            stack.pop()
    return flat


def _outputs(request: _Request) -> dict[str, bool]:
    default = request.parameters.binary_data_output
    if not request.outputs:
        return dict.fromkeys(OUTPUTS, default)
    outputs = {}
    for output in request.outputs:
        if output.name not in OUTPUTS:
            raise BadTensor(
                f"there is no output '{output.name[:50]}': expected {' or '.join(OUTPUTS)}"
            )
        binary = output.parameters.binary_data
        outputs[output.name] = default if binary is None else binary
    return outputs
