"""The routes that bypass FastAPI's layers answer as FastAPI would."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, Response

from serve_app.errors import Busy
from serve_app.http.direct_routes import DirectRoutes, posts
from serve_app.http.problems import explain_errors
from serve_app.http.request_tracing import RequestTracing
from serve_app.trace import Trace
from tests.unit.service import Service, ask


def application(*, direct: bool) -> tuple[FastAPI, list[Trace]]:
    """Two routes that POST reaches directly or through FastAPI, and one that GET reaches."""
    routes = APIRouter(prefix="/things")

    @routes.post("/{name}/echo")
    async def echo(request: Request) -> Response:
        body = await request.body()
        return Response(f"{request.path_params['name']}: {body.decode()}", 201)

    @routes.post("/full")
    async def full(request: Request) -> Response:
        raise Busy("come again")

    @routes.get("/{name}/echo")
    async def read(request: Request) -> Response:
        return Response("read")

    app = FastAPI()
    app.include_router(routes)
    explain_errors(app)
    traces: list[Trace] = []
    app.add_middleware(DirectRoutes, routes=posts(routes.routes) if direct else [])
    app.add_middleware(RequestTracing, answered=traces.append)
    return app, traces


def seen(method: str, path: str, *, direct: bool) -> tuple[Any, ...]:
    app, traces = application(direct=direct)
    response: httpx.Response = asyncio.run(ask(app, method, path, content=b"hello"))
    (trace,) = traces
    return (
        response.status_code,
        response.text,
        dict(response.headers),
        (trace.route, trace.status, trace.error),
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/things/cat/echo", 201),
        ("POST", "/things/a%20b/echo", 201),
        ("POST", "/things/full", 429),
        ("GET", "/things/cat/echo", 200),
        ("DELETE", "/things/cat/echo", 405),
        ("POST", "/things/cat/echo/", 307),
        ("POST", "/things/cat", 404),
    ],
)
def test_an_answer_is_the_same_directly_and_through_fastapi(
    method: str, path: str, status: int
) -> None:
    directly = seen(method, path, direct=True)
    assert directly == seen(method, path, direct=False)
    assert directly[0] == status


def test_classify_and_infer_bypass_fastapi_and_nothing_else_does(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    routed: list[str] = []
    through_fastapi = service.app.router.app

    async def note(scope: Any, receive: Any, send: Any) -> None:
        routed.append(scope["path"])
        await through_fastapi(scope, receive, send)

    monkeypatch.setattr(service.app.router, "middleware_stack", note)
    service.classify()
    for path in ("/v2/models/animals/infer", "/v2/models/animals/versions/v1/infer"):
        service.ask("POST", path, content=b"{}")
    assert routed == []
    service.ask("GET", "/healthz")
    assert routed == ["/healthz"]
