"""Inference requests and answers of the Open Inference Protocol v2, with its binary extension.

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
from models.validation import sentence
from serve_app.data_plane.images import EncodedImage, InputImage, RawImage
from serve_app.errors import BadBody, BadTensor

HEADER_LENGTH = "Inference-Header-Content-Length"
MAX_IMAGES = 64  # a request
MAX_JSON_NUMBERS = 1_000_000  # each costs a hundred times what it does as binary data
IMAGE, PIXELS = "image", "pixels"
LABEL, PROBABILITIES = "label", "probabilities"
OUTPUTS = (LABEL, PROBABILITIES)
_ELEMENT = struct.Struct("<I")  # the length before each element of a binary BYTES tensor

# Lists whose entries are checked end at the first wrong one: a body of 10 MiB may hold a million.
_FIRST_FAULT = Field(fail_fast=True)
_FEW = Field(max_length=100, fail_fast=True)


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)  # as the protocol asks


class _InputParameters(_Part):
    binary_data_size: int | None = Field(default=None, ge=0)


class _Input(_Part):
    name: str
    shape: Annotated[list[int], _FIRST_FAULT]
    datatype: str
    parameters: _InputParameters = _InputParameters()
    data: list[Any] | None = None


class _OutputParameters(_Part):
    binary_data: bool | None = None


class _Output(_Part):
    name: str
    parameters: _OutputParameters = _OutputParameters()


class _RequestParameters(_Part):
    binary_data_output: bool = False


class _Request(_Part):
    id: str | None = None
    inputs: Annotated[list[_Input], _FEW]
    outputs: Annotated[list[_Output], _FEW] | None = None
    parameters: _RequestParameters = _RequestParameters()


@dataclass(frozen=True, slots=True)
class Inference:
    """A request, understood.

    Attributes:
        images: For `DataPlane.classify`.
        outputs: Wanted outputs in their order, and whether each is to be binary.
    """

    images: list[InputImage]
    id: str | None = None
    outputs: dict[str, bool] = field(default_factory=dict)


def read(body: bytes, header_length: str | None) -> Inference:
    """Understand the body of an inference request.

    Args:
        header_length: The header `Inference-Header-Content-Length`; None without binary data.

    Raises:
        BadBody: No JSON of that shape, or its lengths do not add up.
        BadTensor: Inputs or outputs that the model does not have.
    """
    head, tail = _split(body, header_length)
    try:
        request = _Request.model_validate_json(head)
    except ValidationError as exc:
        raise BadBody(
            f"the inference request is rejected: {sentence(exc, 'JSON')}; see /openapi.json"
        ) from exc
    if len(request.inputs) != 1 or request.inputs[0].name not in (IMAGE, PIXELS):
        names = ", ".join(given.name[:50] for given in request.inputs) or "none"
        raise BadTensor(f"the inputs are {names}: send one, '{IMAGE}' or '{PIXELS}'")
    given = request.inputs[0]
    raw = _raw(given, tail)
    if not given.shape or min(given.shape) < 1 or given.shape[0] > MAX_IMAGES:
        raise BadTensor(
            f"the shape of '{given.name}' is {_shown(given)}: its first dimension counts images,"
            f" 1 to {MAX_IMAGES}"
        )
    images = _images(given, raw) if given.name == IMAGE else _pixels(given, raw)
    return Inference(images, request.id, _outputs(request))


def write(
    inference: Inference,
    model: str,
    version: str | None,
    labels: tuple[str, ...],
    probabilities: Floats,
    parameters: dict[str, Any],
) -> tuple[bytes, int | None]:
    """The body of an inference answer, and the length of its JSON if binary data follow it."""
    names = [labels[best].encode() for best in probabilities.argmax(axis=1)]
    outputs: list[dict[str, Any]] = []
    tail = b""
    for name, binary in inference.outputs.items():
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
    if inference.id is not None:
        content["id"] = inference.id
    head = json.dumps(content | {"parameters": parameters, "outputs": outputs}).encode()
    return head + tail, len(head) if any(inference.outputs.values()) else None


def _split(body: bytes, header_length: str | None) -> tuple[bytes, bytes]:
    if header_length is None:
        return body, b""
    if not (header_length.isascii() and header_length.isdecimal()) or len(header_length) > 12:
        raise BadBody(f"{HEADER_LENGTH} is '{header_length[:50]}': expected a number of bytes")
    length = int(header_length)
    if length > len(body):
        raise BadBody(f"{HEADER_LENGTH} is {length}, and the whole body has {len(body)} bytes")
    return body[:length], body[length:]


def _raw(given: _Input, tail: bytes) -> bytes | None:
    """The binary data of the input; None when its data are in the JSON."""
    size = given.parameters.binary_data_size
    if size is None:
        if tail:
            raise BadBody(f"{len(tail)} bytes follow the JSON: give the input binary_data_size")
        if given.data is None:
            raise BadTensor(f"'{given.name}' has neither data nor binary_data_size")
        return None
    if given.data is not None:
        raise BadTensor(f"'{given.name}' has both data and binary_data_size: send one of them")
    if size != len(tail):
        raise BadBody(f"binary_data_size is {size}, and {len(tail)} bytes follow the JSON")
    return tail


def _images(given: _Input, raw: bytes | None) -> list[InputImage]:
    count = given.shape[0]
    if given.datatype != "BYTES" or given.shape not in ([count], [count, 1]):
        raise BadTensor(
            f"'{IMAGE}' is {given.datatype[:20]} {_shown(given)}: expected BYTES [n], one encoded"
            " image an element"
        )
    elements = _decoded(given.data or [], count) if raw is None else _elements(raw)
    if len(elements) != count:
        raise BadTensor(f"'{IMAGE}' has {len(elements)} elements, its shape says {count}")
    return [EncodedImage(element) for element in elements]


def _decoded(data: list[Any], count: int) -> list[bytes]:
    elements = []
    for index, text in enumerate(_flat(data, count)):
        try:
            elements.append(base64.b64decode(text, validate=True))
        except (TypeError, ValueError, binascii.Error) as exc:
            raise BadTensor(f"'{IMAGE}' element {index} is no base64 text: {exc}") from exc
    return elements


def _elements(raw: bytes) -> list[bytes]:
    elements: list[bytes] = []
    start = 0
    while start < len(raw):
        if len(raw) - start < _ELEMENT.size:
            raise BadTensor(f"'{IMAGE}' ends within the length of element {len(elements)}")
        (length,) = _ELEMENT.unpack_from(raw, start)
        start += _ELEMENT.size
        if length > len(raw) - start:
            raise BadTensor(
                f"'{IMAGE}' element {len(elements)} announces {length} bytes,"
                f" {len(raw) - start} follow"
            )
        elements.append(raw[start : start + length])
        start += length
    return elements


def _pixels(given: _Input, raw: bytes | None) -> list[InputImage]:
    kind: Literal["u1", "<f4"] | None = {"UINT8": "u1", "FP32": "<f4"}.get(given.datatype)  # type: ignore[assignment]
    if kind is None or len(given.shape) != 4 or given.shape[3] != 3:
        raise BadTensor(
            f"'{PIXELS}' is {given.datatype[:20]} {_shown(given)}: expected UINT8 or FP32"
            " [n, height, width, 3], RGB"
        )
    count = int(np.prod(given.shape, dtype=object))
    if count // 3 > MAX_PIXELS:
        raise BadTensor(f"'{PIXELS}' {_shown(given)} is more than {MAX_PIXELS} pixels")
    if raw is None and count > MAX_JSON_NUMBERS:
        raise BadTensor(
            f"'{PIXELS}' {_shown(given)} is {count} numbers, and {MAX_JSON_NUMBERS} are read from"
            " JSON: send them as binary data, with binary_data_size"
        )
    try:
        values = (
            np.array([_number(value) for value in _flat(given.data or [], count)], np.float64)
            if raw is None
            else np.frombuffer(raw, kind)
        )
        tensor = values.reshape(given.shape)
    except (TypeError, ValueError, OverflowError) as exc:
        raise BadTensor(f"'{PIXELS}' does not hold {count} numbers of {given.datatype}") from exc
    if tensor.dtype != np.uint8:
        if not np.isfinite(tensor).all() or tensor.min() < 0 or tensor.max() > 255:
            raise BadTensor(f"'{PIXELS}' holds values outside 0 to 255")
        if given.datatype == "UINT8" and (tensor != np.floor(tensor)).any():
            raise BadTensor(f"'{PIXELS}' is UINT8 and holds fractions: send FP32")
    return [RawImage(values, scaled=given.datatype == "FP32") for values in tensor]


def _shown(given: _Input) -> str:
    """The shape, in a few words."""
    return str(given.shape) if len(given.shape) <= 5 else f"of {len(given.shape)} dimensions"


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _flat(data: Any, most: int) -> list[Any]:
    """The elements of nested lists, in order; the protocol allows both. Where there are more than
    `most`, or as many lists, not all of them."""
    flat: list[Any] = []
    stack, lists = [iter(data)], 0
    while stack and max(len(flat), lists) <= most:
        for element in stack[-1]:
            if isinstance(element, list):
                stack.append(iter(element))
                lists += 1
                break
            flat.append(element)
            if len(flat) > most:
                break
        else:
            stack.pop()
    return flat


def _outputs(request: _Request) -> dict[str, bool]:
    default = request.parameters.binary_data_output
    if not request.outputs:
        return dict.fromkeys(OUTPUTS, default)
    wanted = {}
    for output in request.outputs:
        if output.name not in OUTPUTS:
            raise BadTensor(f"there is no output '{output.name[:50]}': {', '.join(OUTPUTS)} are")
        binary = output.parameters.binary_data
        wanted[output.name] = default if binary is None else binary
    return wanted
