"""Parts of the OpenAPI document that several routes share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from serve_app.http.headers import MAX_UNIT_CHARACTERS
from serve_app.http.problems import PROBLEM_TYPE

RuleId = Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
Absent = SkipJsonSchema[None]  # `key: str | Absent = None` may be missing, and is never null

_PROBLEM = {
    "type": "object",
    "description": "RFC 9457. The detail says what came, what was expected and what to do.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "For programs; stable across releases."},
        "error": {"type": "string", "description": "Same as `detail`, for inference clients."},
    },
    "required": ["type", "title", "status", "detail", "code"],
}


def _response_headers(**descriptions: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {
        "headers": {
            name.replace("_", "-"): {"description": description, "schema": schema}
            for name, description in descriptions.items()
        }
    }


_PROBLEM_HEADERS = {
    401: _response_headers(WWW_Authenticate="The scheme of the token."),
    415: _response_headers(
        Accept="The media types of the path, if the body's is not one.",
        Accept_Encoding="The compressions of the path, if the body's is not one.",
    ),
    429: _response_headers(Retry_After="In seconds."),
}


def _header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", **schema},
    }


CONTEXT_HEADERS = [
    _header(
        "X-User-Id", "The user id; stored only as a keyed hash.", maxLength=MAX_UNIT_CHARACTERS
    ),
    _header(
        "X-Session-Id",
        "The session id; stored only as a keyed hash.",
        maxLength=MAX_UNIT_CHARACTERS,
    ),
    _header(
        "X-Region", "ISO 3166-1 alpha-2 country code; other values are ignored.", examples=["AU"]
    ),
    _header(
        "X-Canary",
        "A tag: always or never use the candidate of a canary; other values are ignored.",
        examples=["always", "never"],
    ),
    _header("X-Model-Version", "Pins a version; the rule must allow pins.", examples=["v1"]),
    _header(
        "X-Request-Id",
        "The response repeats it; by default, the service generates one.",
        minLength=1,
        maxLength=200,
        pattern="^[!-~]+$",
    ),
    _header(
        "X-Request-Timeout-Seconds",
        "A positive number: the time after which the response is a 504; by default, none.",
        examples=["2.5"],
    ),
]
PREDICTION_HEADERS = {
    name: {"description": description, "schema": {"type": "string"}}
    for name, description in {
        "X-Served-Version": "Absent if `reveal_version` is false.",
        "X-Assignment-Reason": "Why this version was selected.",
        "X-Prediction-Id": "As `prediction_id` in the body.",
        "X-Request-Id": "As in the request, or generated.",
    }.items()
}


def file_response(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """The description of a file response, under status 200."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    content = dict.fromkeys(media_types, binary)
    return {200: {"description": "The file.", "content": content}}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The descriptions of a route's error responses, by status."""
    return {
        status: {"content": {PROBLEM_TYPE: {"schema": _PROBLEM}}} | _PROBLEM_HEADERS.get(status, {})
        for status in statuses
    }
