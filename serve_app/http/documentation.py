"""Pieces of the OpenAPI document that several routes share."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from serve_app.domain import Reason
from serve_app.http.headers import MAX_UNIT_CHARACTERS
from serve_app.http.problems import PROBLEM_TYPE

TEXT = {"type": "string"}
REASONS = [reason.value for reason in Reason]

_PROBLEM = {
    "type": "object",
    "description": "RFC 9457: what came, what was expected, what to do.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable, for programs."},
        "error": {"type": "string", "description": "The detail again, for inference clients."},
    },
    "required": ["type", "title", "status", "detail", "code"],
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
    _header("X-User-Id", "The user; kept only as a keyed hash.", maxLength=MAX_UNIT_CHARACTERS),
    _header("X-Session-Id", "The session; likewise.", maxLength=MAX_UNIT_CHARACTERS),
    _header("X-Region", "ISO 3166-1 alpha-2; anything else is no region.", examples=["AU"]),
    _header("X-Canary", "A tag, obeyed by canaries.", enum=["always", "never"]),
    _header("X-Model-Version", "A pin; the rule must allow it.", examples=["v1"]),
    _header(
        "X-Request-Id",
        "Echoed; made when missing.",
        minLength=1,
        maxLength=200,
        pattern="^[!-~]+$",
    ),
]
ANSWER_HEADERS = {
    name: {"description": description, "schema": {"type": "string"}}
    for name, description in {
        "X-Served-Version": "Left out where `reveal_version` is false.",
        "X-Assignment-Reason": "Why this version.",
        "X-Prediction-Id": "As in the body.",
        "X-Request-Id": "The request's own, or made.",
    }.items()
}


def fields(**properties: Any) -> dict[str, Any]:
    """The schema of an object that has all of these."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def answer(
    description: str,
    schema: dict[str, Any],
    *,
    headers: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A JSON answer."""
    return {
        "description": description,
        "content": {"application/json": {"schema": schema}},
        **({"headers": headers} if headers else {}),
    }


def files(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """An answer that is a file."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    content = dict.fromkeys(media_types, binary)
    return {200: {"description": "The file.", "content": content}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM_TYPE: {"schema": _PROBLEM}},
        }
        for status in statuses
    }
