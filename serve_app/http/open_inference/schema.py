"""The JSON of an inference request of the Open Inference Protocol v2, with Triton's extensions.

A null is a key left out. A whole number may be written as 2, 2.0 or 2e0. Unknown keys are ignored,
as the protocol requires.

The protocol: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
The extensions: https://github.com/triton-inference-server/server/blob/main/docs/protocol
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError
from pydantic_core import PydanticKnownError

from models.validation import format_findings
from serve_app.errors import BadBody, BadTensor

MAX_DIMENSIONS = 16  # of a shape
# Validation stops at the first wrong entry: a body of 10 MiB may have a million of them.
_SHORT_LIST = Field(max_length=100, fail_fast=True)

# Parameters that change what a request means, and that the service does not support.
_REQUEST_PARAMETERS = {
    "sequence_id": "the model keeps no state between requests",
    "sequence_start": "the model keeps no state between requests",
    "sequence_end": "the model keeps no state between requests",
    "priority": "all requests have the same priority",
    "timeout": "the service has its own time limit",
}
_TENSOR_PARAMETERS = dict.fromkeys(
    ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"),
    "the service has no shared memory: send and receive data in the body",
)


def _require_number(value: Any) -> Any:
    if type(value) not in (int, float):
        raise PydanticKnownError("int_type")
    return value


_Whole = Annotated[int, BeforeValidator(_require_number)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Parameters(_Model):
    model_config = ConfigDict(extra="allow", frozen=True)


class InputParameters(_Parameters):
    binary_data_size: Annotated[_Whole, Field(ge=0)] | None = None


class Input(_Model):
    name: str
    shape: Annotated[list[_Whole], Field(max_length=MAX_DIMENSIONS, fail_fast=True)]
    datatype: str
    parameters: InputParameters | None = None
    data: list[Any] | None = None


class OutputParameters(_Parameters):
    binary_data: StrictBool | None = None
    classification: Annotated[_Whole, Field(ge=0)] | None = None


class Output(_Model):
    name: str
    parameters: OutputParameters | None = None


class RequestParameters(_Parameters):
    binary_data_output: StrictBool | None = None


class Request(_Model):
    id: str | None = None
    inputs: Annotated[list[Input], _SHORT_LIST]
    outputs: Annotated[list[Output], _SHORT_LIST] | None = None
    parameters: RequestParameters | None = None


def parse_json(text: bytes) -> Request:
    """Parse the JSON of a request; to be called after `check_json_size`.

    Raises:
        BadBody: It is not JSON, sets a key twice, or does not match the schema.
        BadTensor: It has a parameter that is not supported.
    """
    try:
        content = json.loads(text.decode("utf-8-sig"), object_pairs_hook=_unique_keys)
    except RecursionError as exc:
        raise BadBody("the inference request is nested too deeply: send flat data") from exc
    except (json.JSONDecodeError, UnicodeDecodeError) as exc:
        raise BadBody(f"the inference request is not JSON: {exc}") from exc
    except ValueError as exc:  # Python reads at most 4300 digits
        raise BadBody(
            "the inference request has an integer of more than 4300 digits: send smaller numbers"
        ) from exc
    try:
        request = Request.model_validate(content)
    except ValidationError as exc:
        raise BadBody(
            f"the inference request is invalid: {format_findings(exc, 'the JSON')}; see"
            " /openapi.json"
        ) from exc
    _reject_unsupported("the request", request.parameters, _REQUEST_PARAMETERS)
    for tensor in (*request.inputs, *(request.outputs or ())):
        _reject_unsupported(f"'{tensor.name[:50]}'", tensor.parameters, _TENSOR_PARAMETERS)
    return request


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise BadBody(
            f"the inference request sets the key '{counts.most_common(1)[0][0][:50]}' twice:"
            " send it once"
        )
    return content


def _reject_unsupported(
    owner: str, parameters: _Parameters | None, unsupported: dict[str, str]
) -> None:
    """Reject parameters with a value other than the default: 0, false, an empty text or null."""
    given = (parameters.model_extra or {}) if parameters else {}
    for name, cause in unsupported.items():
        if given.get(name):
            raise BadTensor(
                f"{owner} has the parameter {name}, which is not supported: {cause}; leave it out"
            )
