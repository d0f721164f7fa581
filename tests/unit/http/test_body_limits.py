"""`BodyLimit` in front of an application that parses bodies itself."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from serve_app.http.body_limits import BodyLimit
from serve_app.http.request_tracing import RequestTracing
from tests.unit.service import send_request

MAX_BYTES = 1000


async def echo(request: Request) -> JSONResponse:
    names = ("content-encoding", "content-length", "x-other")
    headers = {name: request.headers.get(name) for name in names}
    return JSONResponse({"body": (await request.body()).decode()} | headers)


ECHO = Starlette(routes=[Route("/", echo, methods=["POST"])])
APP = RequestTracing(BodyLimit(ECHO, lambda _: MAX_BYTES), lambda _: None)


def send(content: bytes, coding: str) -> httpx.Response:
    headers = {"content-encoding": coding, "x-other": "kept"}
    return asyncio.run(send_request(APP, "POST", "/", content=content, headers=headers))


@pytest.mark.parametrize(
    ("coding", "content"),
    [
        ("gzip", gzip.compress(b"text", mtime=0)),
        ("deflate, x-gzip", gzip.compress(zlib.compress(b"text"), mtime=0)),
        ("identity", b"text"),
    ],
)
def test_the_application_gets_the_unpacked_body(coding: str, content: bytes) -> None:
    assert send(content, coding).json() == {
        "body": "text",
        "content-encoding": None,
        "content-length": "4",
        "x-other": "kept",
    }


@pytest.mark.parametrize(
    ("coding", "content", "status"),
    [
        ("gzip", gzip.compress(bytes(MAX_BYTES + 1), mtime=0), 413),
        ("gzip", gzip.compress(bytes(MAX_BYTES), mtime=0)[:-1], 400),
        ("gzip", b"text", 400),
        ("br", b"text", 415),
    ],
)
def test_a_wrong_body_does_not_reach_the_application(
    coding: str, content: bytes, status: int
) -> None:
    response = send(content, coding)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
