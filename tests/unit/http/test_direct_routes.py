"""Routes that bypass FastAPI's layers respond as FastAPI does."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, Response

from serve_app.errors import Busy
from serve_app.http.direct_routes import DirectRoutes, post_routes
from serve_app.http.problems import add_error_handlers
from serve_app.http.request_tracing import RequestTracing
from serve_app.trace import Trace
from tests.unit.service import Service, send_request


def application(*, direct: bool) -> tuple[FastAPI, list[Trace]]:
    """An application with two POST routes, direct or through FastAPI, and one GET route."""
    routes = APIRouter(prefix="/things")

    @routes.post("/{name}/echo")
    async def echo(request: Request) -> Response:
        body = await request.body()
        return Response(f"{request.path_params['name']}: {body.decode()}", 201)

    @routes.post("/full")
    async def full(request: Request) -> Response:
        raise Busy("try again")

    @routes.get("/{name}/echo")
    async def read(request: Request) -> Response:
        return Response("read")

    app = FastAPI()
    app.include_router(routes)
    add_error_handlers(app)
    traces: list[Trace] = []
    app.add_middleware(DirectRoutes, routes=post_routes(routes.routes) if direct else [])
    app.add_middleware(RequestTracing, record_trace=traces.append)
    return app, traces


def response_and_trace(method: str, path: str, *, direct: bool) -> tuple[Any, ...]:
    app, traces = application(direct=direct)
    response: httpx.Response = asyncio.run(send_request(app, method, path, content=b"hello"))
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
def test_direct_and_fastapi_responses_are_equal(method: str, path: str, status: int) -> None:
    direct = response_and_trace(method, path, direct=True)
    assert direct == response_and_trace(method, path, direct=False)
    assert direct[0] == status


def test_only_classify_and_infer_bypass_fastapi(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    fastapi_paths: list[str] = []
    through_fastapi = service.app.router.app

    async def record_path(scope: Any, receive: Any, send: Any) -> None:
        fastapi_paths.append(scope["path"])
        await through_fastapi(scope, receive, send)

    monkeypatch.setattr(service.app.router, "middleware_stack", record_path)
    service.classify()
    for path in ("/v2/models/animals/infer", "/v2/models/animals/versions/v1/infer"):
        service.request("POST", path, content=b"{}")
    assert fastapi_paths == []
    service.request("GET", "/healthz")
    assert fastapi_paths == ["/healthz"]
