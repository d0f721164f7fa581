"""The pages load only files of this service and have no script in the HTML."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from tests.unit.http.control.conftest import RecordingService
from tests.unit.service import Service, send_request


def get(app: FastAPI, path: str, accept: str = "text/html") -> Any:
    return asyncio.run(send_request(app, "GET", path, headers={"accept": accept}))


@pytest.fixture(params=["data plane", "control plane"])
def app(request: pytest.FixtureRequest, service: Service, tmp_path: Path) -> FastAPI:
    if request.param == "data plane":
        return service.app
    return RecordingService(tmp_path).app


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_is_complete_without_other_hosts(app: FastAPI, path: str) -> None:
    response = get(app, path)
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    loaded = re.findall(r'<(?:script|link)[^>]*(?:src|href)="([^"]+)"', response.text)
    assert len(loaded) >= 3
    for file in loaded:
        if file != "data:,":  # no favicon
            assert get(app, f"/{file}").status_code == 200, file
    assert not re.search(r"<script(?![^>]*src)|<style|\sstyle=|\son\w+=", response.text)


def test_documentation_comes_from_no_other_path(app: FastAPI) -> None:
    assert get(app, "/redoc").status_code == 404
    assert get(app, "/docs/oauth2-redirect").status_code == 404


class TestHome:
    def test_its_links_lead_somewhere(self, service: Service) -> None:
        links = re.findall(r'<a href="([^"]+)"', get(service.app, "/").text)
        json_links = get(service.app, "/", "application/json").json()["links"].values()
        assert {"docs", "v1/rule", "v1/models", "control/"} <= {*links} & {*json_links}
        for link in {*links, *json_links} - {"control/"}:
            assert get(service.app, f"/{link}").status_code == 200, link

    @pytest.mark.parametrize(
        ("accept", "media_type"),
        [
            ("application/json", "application/json"),
            ("application/json, */*;q=0.5", "application/json"),
            ("text/html,application/json;q=0.9", "text/html"),
            ("*/*", "text/html"),
            ("", "text/html"),
        ],
    )
    def test_clients_may_get_json(self, service: Service, accept: str, media_type: str) -> None:
        response = get(service.app, "/", accept)
        assert response.headers["content-type"].split(";")[0] == media_type
        assert response.headers["vary"] == "Accept"
