"""What all routes have in common: the token, problems and the body limit; and the pages."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from serve_app import errors
from serve_app.http.control.application import MAX_BODY_BYTES, MAX_SIGN_IN_BYTES
from serve_app.store.errors import BadExport
from tests.unit.http.control.conftest import (
    BEARER,
    CHANGES,
    IMAGE_ID,
    JSON,
    SET_RULE,
    TOKEN,
    RecordingService,
)
from tests.unit.service import send_request

CONFIG_CHANGE = "(PUT|POST) /(?!reviews)"
BODIES = {(sent.method, sent.path): sent.body for sent in CHANGES}


@cache
def protected_routes() -> list[tuple[str, str, Any]]:
    """Method, path and body of all documented routes, except those of the session."""
    routes = [
        (method.upper(), path.format(number=3, table="epochs", image_id=IMAGE_ID))
        for path, item in RecordingService(Path()).app.openapi()["paths"].items()
        for method in item
        if path != "/session"
    ]
    assert len(routes) >= 20
    return [(*route, BODIES.get(route)) for route in routes]


class TestProtectedRoutes:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"authorization": "Bearer"},
            {"authorization": f"Bearer {TOKEN[:-1]}"},
            {"authorization": f"Bearer {TOKEN}0"},
            {"authorization": f"Basic {TOKEN}"},
            {"authorization": TOKEN},
            {"authorization": b"Bearer \xff\xfe"},
        ],
    )
    def test_without_the_token_every_route_is_unauthorized(
        self, service: RecordingService, headers: dict[str, Any]
    ) -> None:
        for method, path, body in protected_routes():
            response = service.request(method, path, json=body, headers=headers)
            assert (response.status_code, response.json()["code"]) == (401, "unauthorized"), path
            assert response.headers["www-authenticate"] == "Bearer"
        assert service.calls == []

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
    def test_the_token_grants_access_to_every_route(
        self, service: RecordingService, scheme: str
    ) -> None:
        for method, path, body in protected_routes():
            headers = {"authorization": f"{scheme} {TOKEN}"}
            assert service.request(method, path, json=body, headers=headers).status_code == 200

    @pytest.mark.parametrize(
        ("failure", "pattern"),
        [
            (errors.Busy("16 reads"), ""),
            (errors.NotReady("unreachable"), ""),
            (errors.TooSlow("late"), ""),
            (errors.NoSuchRevision("there is no revision 3"), "/revisions/"),
            (errors.UpdateInProgress("it is being recreated"), CONFIG_CHANGE),
            (errors.Superseded("revision 4 was deployed"), CONFIG_CHANGE),
            (errors.RejectedConfig("stable is v9"), CONFIG_CHANGE),
            (errors.NothingToReport("no shadow was in force"), "/reports/"),
            (errors.BadPeriod("since is 'soon'"), "/reports/|/overview|/export/"),
            (BadExport("there is no table epoch"), "/export/"),
        ],
    )
    def test_a_failure_of_the_service_is_a_problem(
        self, service: RecordingService, failure: errors.Problem, pattern: str
    ) -> None:
        service.failure = failure
        routes = [route for route in protected_routes() if re.search(pattern, " ".join(route[:2]))]
        assert routes
        for method, path, body in routes:
            error = service.error(method, path, json=body)
            assert error == (failure.status, failure.code, str(failure)), path


def test_an_unexpected_error_is_a_problem_without_its_text(service: RecordingService) -> None:
    service.failure = RuntimeError("password=1234")
    status, code, detail = service.error("GET", "/status")
    assert (status, code) == (500, "internal")
    assert "1234" not in detail


@pytest.mark.parametrize(
    ("status", "request_line"),
    [
        (404, "GET /control/nothing"),
        (404, "GET /control/static/none.js"),
        (404, "GET /control/static/%2e%2e/console.html"),
        (404, "GET /control/static/../console.html"),
        (405, "PATCH /control/status"),
        (405, "POST /control/static/review.js"),
    ],
)
def test_an_unknown_path_or_method_names_the_openapi_document(
    service: RecordingService, status: int, request_line: str
) -> None:
    mounted = Starlette(routes=[Mount("/control", service.app)])
    response = asyncio.run(send_request(mounted, *request_line.split()))
    assert response.status_code == status
    assert ": see /control/openapi.json for " in response.json()["detail"]


class TestBodies:
    """A body is read up to a limit, before it is parsed; without a credential only to sign in."""

    @pytest.mark.parametrize(
        ("request_line", "headers", "limit"),
        [
            ("PUT /rule", BEARER, MAX_BODY_BYTES),
            ("GET /status", BEARER, MAX_BODY_BYTES),
            ("PUT /nothing", BEARER, MAX_BODY_BYTES),
            ("POST /session", {}, MAX_SIGN_IN_BYTES),
        ],
    )
    def test_a_content_length_above_the_limit_is_rejected_without_reading(
        self, service: RecordingService, request_line: str, headers: dict[str, str], limit: int
    ) -> None:
        sent = headers | {"content-length": str(limit + 1)}
        error = service.error(*request_line.split(), content=unread_body(), headers=sent)
        assert error[:2] == (413, "body_too_large")
        assert service.calls == []

    @pytest.mark.parametrize(
        "request_line",
        ["PUT /rule", "PUT /deployment", "GET /status", "PUT /nothing", "POST /static/review.js"],
    )
    @pytest.mark.parametrize(
        "sent", [{"content-length": "100"}, {"transfer-encoding": "chunked"}], ids=["length", ""]
    )
    def test_without_a_credential_no_body_is_read(
        self, service: RecordingService, request_line: str, sent: dict[str, str]
    ) -> None:
        error = service.error(*request_line.split(), content=unread_body(), headers=sent)
        assert error[:2] == (401, "unauthorized")

    @pytest.mark.parametrize(
        ("request_line", "headers", "limit"),
        [("PUT /rule", BEARER, MAX_BODY_BYTES), ("POST /session", {}, MAX_SIGN_IN_BYTES)],
    )
    def test_a_stream_is_rejected_once_it_exceeds_the_limit(
        self, service: RecordingService, request_line: str, headers: dict[str, str], limit: int
    ) -> None:
        sent = 0

        async def long_body() -> AsyncIterator[bytes]:
            nonlocal sent
            while sent < 4 * limit:
                sent += limit // 16
                yield bytes(limit // 16)

        error = service.error(*request_line.split(), content=long_body(), headers=headers | JSON)
        assert error[:2] == (413, "body_too_large")
        assert sent == limit + limit // 16

    def test_a_body_of_the_maximum_size_is_read(self, service: RecordingService) -> None:
        body = json.dumps(SET_RULE).encode().ljust(MAX_BODY_BYTES)
        assert service.request("PUT", "/rule", content=body, headers=BEARER | JSON).is_success


async def unread_body() -> AsyncIterator[bytes]:
    raise AssertionError("the body is read")
    yield b""


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html"),
        ("/review", "text/html"),
        ("/static/console.js", "text/javascript"),
        ("/static/console.css", "text/css"),
        ("/static/review.js", "text/javascript"),
        ("/static/review.css", "text/css"),
    ],
)
def test_a_page_needs_no_token_and_loads_only_own_content(
    service: RecordingService, path: str, media_type: str
) -> None:
    """The pages are not part of the OpenAPI document."""
    response = asyncio.run(send_request(service.app, "GET", path))
    assert response.status_code == 200
    assert response.headers["content-type"].split(";")[0] == media_type
    if media_type == "text/html":
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; ")
        assert "frame-ancestors 'none'" in policy
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["x-content-type-options"] == "nosniff"
