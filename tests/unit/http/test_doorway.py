"""The check before Serve's own reading of headers."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from fastapi import FastAPI

from serve_app.http.doorway import DECODED_BY_SERVE, middlewares
from serve_app.http.problems import PROBLEM_TYPE
from tests.unit.service import ask

Headers = list[tuple[bytes, bytes]]


def get(headers: Headers) -> httpx.Response:
    """The answer of an application behind the check."""
    (middleware,) = middlewares()
    inner = FastAPI()
    inner.get("/")(lambda: "inside")
    app = middleware.cls(inner, *middleware.args, **middleware.kwargs)
    return asyncio.run(ask(app, "GET", "/", headers=headers))


@pytest.mark.parametrize("name", DECODED_BY_SERVE)
def test_what_serve_would_fail_to_decode_is_a_bad_header(name: bytes) -> None:
    refused = get([(name, b"\xd7\xf8")])
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_header")
    assert refused.headers["content-type"] == PROBLEM_TYPE
    assert refused.headers["x-request-id"]
    assert "is not UTF-8" in refused.json()["detail"]


@pytest.mark.parametrize(
    "headers", [[], [(b"x-request-id", "é".encode())], [(b"x-user-id", b"\xd7\xf8")]]
)
def test_everything_else_passes(headers: Headers) -> None:
    assert get(headers).json() == "inside"
