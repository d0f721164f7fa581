"""Web pages of other origins, with and without `cors_origins`."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from serve_app.http.data.application import application
from tests.unit.service import MODEL, Service, image, send_request

PAGE = "https://app.example.org"


def app_for(service: Service, *origins: str) -> FastAPI:
    return application(
        service.plane,
        service.feedback_sink,
        MODEL,
        service.traces.append,
        service._lifespan,
        origins,
    )


def call(app: FastAPI, method: str, path: str, origin: str, **options: Any) -> httpx.Response:
    headers = {"origin": origin} | options.pop("headers", {})
    return asyncio.run(send_request(app, method, path, headers=headers, **options))


def preflight(app: FastAPI, path: str, origin: str = PAGE, method: str = "POST") -> httpx.Response:
    wanted = {
        "access-control-request-method": method,
        "access-control-request-headers": "content-type,x-user-id,x-anything",
    }
    return call(app, "OPTIONS", path, origin, headers=wanted)


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/feedback", f"/v2/models/{MODEL}/infer"])
@pytest.mark.parametrize(("origins", "allowed"), [((PAGE, "https://b.example"), PAGE), ("*", "*")])
def test_a_preflight_of_a_listed_origin_is_granted(
    service: Service, origins: Any, allowed: str, path: str
) -> None:
    response = preflight(app_for(service, *origins), path)
    assert (response.status_code, response.content) == (204, b"")
    headers = response.headers
    assert headers["access-control-allow-origin"] == allowed
    assert headers["access-control-allow-headers"] == "content-type,x-user-id,x-anything"
    assert headers["access-control-allow-methods"] == "GET, HEAD, POST"
    assert "Origin" in headers["vary"]
    assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize("origins", [(), (PAGE,)])
@pytest.mark.parametrize("origin", ["https://evil.example", f"{PAGE}.evil.example", "null", ""])
def test_another_origin_is_answered_without_a_grant(
    service: Service, origins: tuple[str, ...], origin: str
) -> None:
    app = app_for(service, *origins)
    for response in (preflight(app, "/v1/classify", origin), call(app, "GET", "/healthz", origin)):
        assert response.is_success
        assert "access-control-allow-origin" not in response.headers


def test_without_configuration_a_preflight_is_a_plain_options(service: Service) -> None:
    response = preflight(app_for(service), "/v1/classify")
    assert (response.status_code, response.headers["allow"]) == (204, "OPTIONS, POST")
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_a_page_may_read_responses_and_their_headers(service: Service) -> None:
    app = app_for(service, PAGE)
    classified = call(
        app, "POST", "/v1/classify", PAGE, content=image(), headers={"content-type": "image/png"}
    )
    rejected = call(app, "GET", "/v1/rule", PAGE, headers={"x-request-id": "a b"})
    not_found = call(app, "GET", "/nothing", PAGE)
    for response, status in ((classified, 200), (rejected, 400), (not_found, 404)):
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == PAGE
        assert response.headers["vary"] == "Origin"
        exposed = response.headers["access-control-expose-headers"].lower().split(", ")
        assert {"x-request-id", "x-prediction-id", "x-served-version", "retry-after"} <= {*exposed}
        assert "access-control-allow-credentials" not in response.headers
    own = {name for name in classified.headers if name.startswith("x-")}
    assert own - {"x-content-type-options"} <= {*exposed}


def test_an_internal_error_can_be_read_too(service: Service) -> None:
    app = app_for(service, PAGE)

    @app.get("/broken")
    async def broken(request: Request) -> None:
        raise RuntimeError

    response = call(app, "GET", "/broken", PAGE)
    assert (response.status_code, response.headers["access-control-allow-origin"]) == (500, PAGE)
