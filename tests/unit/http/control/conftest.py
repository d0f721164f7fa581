"""The HTTP application of the control plane over a service that records its calls."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI

from serve_app.control_plane import changes
from serve_app.control_plane.preview import Preview
from serve_app.deployment.config import Difference
from serve_app.http.control.application import application
from serve_app.http.control.authentication import Authenticator
from serve_app.http.control.service import ControlService, ReadService
from serve_app.http.control.sessions import Role, Sessions
from serve_app.trace import Trace
from tests.unit.service import check_documented, send_request

TOKEN = "0123456789abcdef" * 4
REVIEWER_TOKEN = "fedcba9876543210" * 4
BEARER = {"authorization": f"Bearer {TOKEN}"}
JSON = {"content-type": "application/json"}
IMAGE_ID = "0123456789ab-7"


class Sent(NamedTuple):
    """A request for a change, and the change."""

    method: str
    path: str
    body: dict[str, Any]
    change: changes.Change


AUDIT: dict[str, Any] = {"actor": "anna", "reason": "a test", "base_revision": 3}
DEPLOY = AUDIT | {"document": {"applications": []}}
SET_RULE = AUDIT | {"rule": {"kind": "single", "stable": "v2"}, "change_stable": True}
UPDATE = AUDIT | {"version": "v2", "method": "rolling"}
RECREATE = UPDATE | {"method": "recreate", "runtime_env": {"pip": ["numpy"]}}
REVIEW = {"actor": "anna", "answer": "koala"}
CONFIG_CHANGES = [
    Sent("PUT", "/deployment", DEPLOY, changes.Deploy(**DEPLOY)),
    Sent("PUT", "/rule", SET_RULE, changes.SetRule(**SET_RULE)),
    Sent("POST", "/updates", UPDATE, changes.Update(**UPDATE)),
    Sent("POST", "/updates", RECREATE, changes.Update(**RECREATE)),
    Sent("POST", "/revisions/3/restore", AUDIT, changes.Restore(revision=3, **AUDIT)),
]
CHANGES = [
    *CONFIG_CHANGES,
    Sent("POST", f"/reviews/{IMAGE_ID}", REVIEW, changes.Review(image_id=IMAGE_ID, **REVIEW)),
]
_JSON_METHODS = (
    "status deployment revisions revision audit report experiments overview list_images find_image"
)
RESULTS: dict[str, Any] = {name: {"result of": name} for name in _JSON_METHODS.split()} | {
    "apply": changes.Applied(7, "9f31c0aa", ("high weight",)),
    "preview": Preview(
        3,
        "v2",
        ("v1 → v2",),
        ("all users",),
        ("high weight",),
        (Difference("rule", "v1", "v2", False),),
    ),
    "promotion_warnings": ["no user was served with v2"],
    "export": Path("exported"),
    "image_content": b"\xff\xd8\xff",
}


@contextlib.asynccontextmanager
async def empty_lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield


class ControlApp:
    """The application of the control plane and a client that checks responses against its OpenAPI
    document.

    Attributes:
        traces: One per request, oldest first.
    """

    def __init__(self, control: ControlService, reads: ReadService, sessions: Path) -> None:
        """
        Args:
            sessions: The folder of the sessions.
        """
        self.traces: list[Trace] = []
        tokens = {Role.OPERATOR: TOKEN, Role.REVIEWER: REVIEWER_TOKEN}
        authenticator = Authenticator(tokens, Sessions(sessions, b"key"))
        self.app = application(control, reads, authenticator, self.traces.append, empty_lifespan)

    def request(
        self, method: str, path: str, headers: Any = BEARER, **options: Any
    ) -> httpx.Response:
        """Send one request, with the token unless `headers` are given."""
        response = asyncio.run(send_request(self.app, method, path, headers=headers, **options))
        assert self.traces[-1].status == response.status_code
        check_documented(self.app, self.traces[-1].route, response)
        return response

    def get(self, path: str) -> Any:
        """The JSON of a successful response."""
        response = self.request("GET", path)
        assert response.status_code == 200, response.text
        return response.json()

    def error(self, method: str, path: str, **options: Any) -> tuple[int, str, str]:
        """Status, code and detail of a problem."""
        response = self.request(method, path, **options)
        content = response.json()
        return response.status_code, content["code"], content["detail"]


class RecordingService(ControlApp):
    """Implements `ControlService` and `ReadService` of its own application.

    Attributes:
        calls: Method and arguments of each call, oldest first.
        failure: Raised by every call.
        table: The content of every exported file.
        exported: The path of the last exported file.
        sessions: The folder of the sessions.
    """

    def __init__(self, folder: Path) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None
        self.table = b"a,b\r\n1,2\r\n"
        self.exported = folder / RESULTS["export"]
        service: Any = self
        self.sessions = folder / "sessions"
        super().__init__(service, service, self.sessions)

    def __getattr__(self, name: str) -> Any:
        if name not in RESULTS:
            raise AttributeError(name)
        return partial(self._call, name)

    async def _call(self, name: str, *arguments: Any) -> Any:
        self.calls.append((name, *arguments))
        if self.failure:
            raise self.failure
        if name == "export":
            self.exported.write_bytes(self.table)
            return self.exported
        return RESULTS[name]


@pytest.fixture
def service(tmp_path: Path) -> RecordingService:
    """The application of the control plane over a service that records its calls."""
    (tmp_path / "sessions").mkdir()
    return RecordingService(tmp_path)
