"""HEAD, OPTIONS, `Allow` and redirects on every path of both applications."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from tests.unit.http.control.conftest import BEARER, IMAGE_ID, RecordingService
from tests.unit.service import Service, send_request

PAGES = ["/docs", "/openapi.json", "/static/console.css", "/static/swagger-ui.css"]
VALUES = {
    "model": "animals",
    "version": "v1",
    "number": "3",
    "table": "epochs",
    "image_id": IMAGE_ID,
}


def methods_by_path(app: FastAPI) -> dict[str, set[str]]:
    """The documented methods of each path, with values for its parameters."""
    return {
        re.sub(r"{(\w+)}", lambda match: VALUES[match[1]], path): {name.upper() for name in item}
        for path, item in app.openapi()["paths"].items()
    }


def call(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    return asyncio.run(send_request(app, method, path, **options))


def data_plane(folder: Path) -> FastAPI:
    with Service(folder) as service:
        return service.app


def control_plane(folder: Path) -> FastAPI:
    return RecordingService(folder).app


@pytest.mark.parametrize("create", [data_plane, control_plane])
def test_head_is_get_without_the_body(create: Any, tmp_path: Path) -> None:
    app = create(tmp_path)
    paths = [path for path, methods in methods_by_path(app).items() if "GET" in methods]
    for path in [*paths, *PAGES, "/", "/nothing", "/static/nothing"]:
        get = call(app, "GET", path, headers=BEARER)
        head = call(app, "HEAD", path, headers=BEARER)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert head.headers == get.headers, path


@pytest.mark.parametrize("create", [data_plane, control_plane])
def test_allow_has_all_methods_of_the_path(create: Any, tmp_path: Path) -> None:
    app = create(tmp_path)
    for path, methods in methods_by_path(app).items():
        expected = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        options = call(app, "OPTIONS", path)
        assert (options.status_code, options.content) == (204, b""), path
        assert set(options.headers["allow"].split(", ")) == expected, path
        for method in {
            "GET",
            "HEAD",
            "POST",
            "PUT",
            "DELETE",
            "PATCH",
            "TRACE",
            "PURGE",
        } - expected:
            response = call(app, method, path, headers=BEARER)
            assert (response.status_code, response.headers["allow"]) == (
                405,
                options.headers["allow"],
            ), (method, path)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("create", [data_plane, control_plane])
def test_a_page_allows_get(create: Any, path: str, tmp_path: Path) -> None:
    app = create(tmp_path)
    assert call(app, "POST", path).headers["allow"] == "GET, HEAD, OPTIONS"
    assert call(app, "OPTIONS", path).status_code == 204


def test_options_needs_no_token_and_a_path(tmp_path: Path) -> None:
    app = control_plane(tmp_path)
    assert call(app, "OPTIONS", "/deployment").headers["allow"] == "GET, HEAD, OPTIONS, PUT"
    assert call(app, "OPTIONS", "/nothing").status_code == 404


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/control", "/control/"),
        ("/control?a=1&b=%2F", "/control/?a=1&b=%2F"),
        ("/control/review/", "/control/review"),
        ("/control/static/nothing/", None),
        ("/control//evil.example/", None),
    ],
)
def test_a_redirect_has_no_host(path: str, location: str | None, tmp_path: Path) -> None:
    app = control_plane(tmp_path)

    async def at_control(scope: Scope, receive: Receive, send: Send) -> None:
        """As Serve calls the application."""
        await app({**scope, "root_path": "/control"}, receive, send)

    response = call(at_control, "GET", path, headers={"host": "evil.example"})
    assert response.status_code == (307 if location else 404)
    assert response.headers.get("location") == location


def test_a_redirect_keeps_the_method(tmp_path: Path) -> None:
    response = call(data_plane(tmp_path), "POST", "/v1/classify/", content=b"x")
    assert (response.status_code, response.headers["location"]) == (307, "/v1/classify")
