"""The header guard, which runs before Serve decodes headers."""

from __future__ import annotations

import asyncio
import warnings

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from serve_app.http.header_guard import DECODED_BY_SERVE, middlewares
from serve_app.http.problems import PROBLEM_TYPE
from tests.unit.service import send_request

with warnings.catch_warnings():  # Serve's modules use deprecated pydantic APIs
    warnings.simplefilter("ignore")
    from ray.serve._private.http_util import parse_disconnect_disabled_header

Headers = list[tuple[bytes, bytes]]


def get(headers: Headers) -> httpx.Response:
    """The response of an application behind the guard."""
    (middleware,) = middlewares()
    inner = FastAPI()
    inner.get("/")(lambda: "inside")
    app = middleware.cls(inner, *middleware.args, **middleware.kwargs)
    return asyncio.run(send_request(app, "GET", "/", headers=headers))


@pytest.mark.parametrize("name", DECODED_BY_SERVE)
def test_an_undecodable_header_is_rejected(name: bytes) -> None:
    rejected = get([(name, b"\xd7\xf8")])
    assert (rejected.status_code, rejected.json()["code"]) == (400, "bad_header")
    assert rejected.headers["content-type"] == PROBLEM_TYPE
    assert rejected.headers["x-request-id"]
    assert "is not UTF-8" in rejected.json()["detail"]


@pytest.mark.parametrize(
    "headers", [[], [(b"x-request-id", "é".encode())], [(b"x-user-id", b"\xd7\xf8")]]
)
def test_other_headers_pass(headers: Headers) -> None:
    assert get(headers).json() == "inside"


@pytest.mark.parametrize(
    ("path", "has_own_detection"),
    [
        ("/v1/classify", True),
        ("/v2/models/animals/infer", True),
        ("/v2/models/animals/versions/v1/infer", True),
        ("/v1/feedback", False),
        ("/control/review", False),
    ],
)
def test_serve_detection_is_off_only_for_routes_with_their_own(
    path: str, has_own_detection: bool
) -> None:
    scopes: list[Scope] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)

    (middleware,) = middlewares()
    app = middleware.cls(inner, *middleware.args, **middleware.kwargs)
    headers = [(b"x-user-id", b"anna")]
    asyncio.run(app({"type": "http", "path": path, "headers": headers}, None, None))  # type: ignore[arg-type]
    assert parse_disconnect_disabled_header(dict(scopes[0]["headers"])) is has_own_detection
    assert headers == [(b"x-user-id", b"anna")], "the scope's original headers are not changed"
