from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, MutableMapping
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from fastapi import FastAPI

from serve_app.errors import (
    BadPeriod,
    Busy,
    KeyInUse,
    KeyMismatch,
    NoSuchRevision,
    NothingToReport,
    NotReady,
    Problem,
    RejectedConfig,
    TooSlow,
    UpdateInProgress,
)
from serve_app.http.control_plane import CHUNK_BYTES, MAX_BODY_BYTES, application
from serve_app.http.session import COOKIE, LIFETIME_S, Authenticator
from serve_app.store.errors import BadExport
from serve_app.trace import Trace
from tests.unit.service import check_documented, send_request

T = TypeVar("T")
TOKEN = "0123456789abcdef" * 4
BEARER = {"authorization": f"Bearer {TOKEN}"}
JSON = {"content-type": "application/json"}
CHANGE: dict[str, Any] = {"actor": "anna", "reason": "a test"}
DEPLOYMENT = CHANGE | {"document": {"applications": []}}
RULE = CHANGE | {"rule": {"kind": "single", "stable": "v2"}}
UPDATE = CHANGE | {"version": "v2", "method": "rolling"}
RECREATION = UPDATE | {"method": "recreate", "runtime_env": {"pip": ["numpy"]}}
CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("PUT", "/deployment", DEPLOYMENT),
    ("PUT", "/rule", RULE),
    ("POST", "/updates", UPDATE),
    ("POST", "/updates", RECREATION),
    ("POST", "/revisions/3/restore", CHANGE),
]
IMAGE = "/reviews/0123456789ab-7"
REVIEW: tuple[str, str, dict[str, Any]] = (
    "POST",
    IMAGE,
    {"actor": "anna", "answer": "koala"},
)
POSTS = [(path, body) for method, path, body in (*CHANGES, REVIEW) if method == "POST"]
PROTECTED = [
    ("GET", "/status", None),
    ("GET", "/deployment", None),
    ("GET", "/revisions", None),
    ("GET", "/audit", None),
    ("GET", "/reports/traffic", None),
    ("GET", "/reports/canary", None),
    ("GET", "/reports/ab", None),
    ("GET", "/reports/shadow", None),
    ("GET", "/export/epochs", None),
    ("GET", "/reviews", None),
    ("GET", IMAGE, None),
    ("GET", f"{IMAGE}/image", None),
    REVIEW,
    *CHANGES,
]
STORE_READS = [
    path
    for method, path, _ in PROTECTED
    if method == "GET" and path.startswith(("/reports", "/export", "/reviews"))
]


class RecordingControlPlane:
    """Implements `ControlPlane` and records its calls.

    Attributes:
        calls: Method and arguments of each call, the oldest first.
        failure: Raised by every call.
        table: The content of every exported file.
        exported: The path of the last exported file.
    """

    def __init__(self) -> None:
        self.table = b"a,b\r\n1,2\r\n"
        self.calls: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None

    async def status(self) -> dict[str, Any]:
        return self._record({"applications": {}}, "status")

    async def deployment(self) -> dict[str, Any]:
        return self._record({"applications": []}, "deployment")

    async def deploy(self, document: dict[str, Any], actor: str, reason: str) -> int:
        return self._record(7, "deploy", document, actor, reason)

    async def set_rule(self, content: dict[str, Any], actor: str, reason: str) -> dict[str, Any]:
        result = {"revision": 7, "rule_id": "9f31c0aa", "warnings": ["high weight"]}
        return self._record(result, "set_rule", content, actor, reason)

    async def update(
        self,
        version: str,
        method: str,
        runtime_env: dict[str, Any] | None,
        actor: str,
        reason: str,
        key: str | None,
    ) -> int:
        return self._record(7, "update", version, method, runtime_env, actor, reason, key)

    async def restore(self, number: int, actor: str, reason: str, key: str | None) -> int:
        return self._record(7, "restore", number, actor, reason, key)

    async def revisions(self, limit: int) -> list[dict[str, Any]]:
        return self._record([{"number": 7}], "revisions", limit)

    async def audit(self, limit: int) -> list[dict[str, Any]]:
        return self._record([{"action": "deploy"}], "audit", limit)

    async def report(
        self, name: str, since: str | None, region: str | None, experiment: str | None
    ) -> dict[str, Any]:
        return self._record({"report": name}, "report", name, since, region, experiment)

    async def export(self, table: str, kind: str, since: str) -> Path:
        number, name = tempfile.mkstemp()
        os.close(number)
        self.exported = Path(name)
        self.exported.write_bytes(self.table)
        return self._record(self.exported, "export", table, kind, since)

    async def list_images(self, limit: int, reviewed: bool) -> dict[str, Any]:
        return self._record({"images": []}, "list_images", limit, reviewed)

    async def find_image(self, image_id: str) -> dict[str, Any]:
        return self._record({"id": image_id}, "find_image", image_id)

    async def image_content(self, image_id: str) -> bytes:
        return self._record(b"\xff\xd8\xff", "image_content", image_id)

    async def add_review(
        self, image_id: str, answer: str, actor: str, reason: str, key: str | None
    ) -> dict[str, Any]:
        result = {"id": image_id}
        return self._record(result, "add_review", image_id, answer, actor, reason, key)

    def _record(self, result: T, *call: Any) -> T:
        self.calls.append(call)
        if self.failure:
            raise self.failure
        return result


@contextlib.asynccontextmanager
async def empty_lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield


class ControlApp:
    """The application of the control plane over a recording control plane."""

    def __init__(self) -> None:
        self.plane = RecordingControlPlane()
        self.traces: list[Trace] = []
        self.app = application(self.plane, Authenticator(TOKEN), self.traces.append, empty_lifespan)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = asyncio.run(send_request(self.app, method, path, **options))
        assert self.traces[-1].status == response.status_code
        check_documented(self.app, self.traces[-1].route, response)
        return response

    def sign_in(self, token: str = TOKEN, **options: Any) -> httpx.Response:
        return self.request("POST", "/session", json={"token": token}, **options)

    def session_cookie(self) -> str:
        """The cookie value of a signed-in browser."""
        return SimpleCookie(self.sign_in().headers["set-cookie"])[COOKIE].value


@pytest.fixture
def control() -> ControlApp:
    return ControlApp()


class TestAuthentication:
    @pytest.mark.parametrize(("method", "path", "body"), PROTECTED)
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
            {"cookie": f"{COOKIE}={TOKEN}"},
        ],
        ids=lambda headers: next(iter(headers.items()), ("no header",))[-1][:12],
    )
    def test_without_the_token_every_route_is_unauthorized(
        self, control: ControlApp, method: str, path: str, body: Any, headers: dict[str, Any]
    ) -> None:
        response = control.request(method, path, json=body, headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"
        assert control.plane.calls == []

    def test_every_documented_route_but_the_session_requires_the_token(
        self, control: ControlApp
    ) -> None:
        documented = {
            (method.upper(), path)
            for path, item in control.app.openapi()["paths"].items()
            for method in item
        }
        assert documented - {("POST", "/session"), ("DELETE", "/session")} == {
            (
                method,
                path.replace("/3/", "/{number}/")
                .replace("/epochs", "/{table}")
                .replace(IMAGE, "/reviews/{image_id}"),
            )
            for method, path, _ in PROTECTED
        }

    @pytest.mark.parametrize(("method", "path", "body"), PROTECTED)
    @pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
    def test_the_token_grants_access(
        self, control: ControlApp, method: str, path: str, body: Any, scheme: str
    ) -> None:
        headers = {"authorization": f"{scheme} {TOKEN}"}
        assert control.request(method, path, json=body, headers=headers).is_success
        assert len(control.plane.calls) == 1


class TestSessions:
    def test_signing_in_with_the_token_grants_access(self, control: ControlApp) -> None:
        cookie = {"cookie": f"{COOKIE}={control.session_cookie()}"}
        assert control.request("GET", "/status", headers=cookie).status_code == 200

    def test_the_cookie_is_restricted_to_the_control_plane(self, control: ControlApp) -> None:
        cookie = SimpleCookie(control.sign_in().headers["set-cookie"])[COOKIE]
        assert (cookie["path"], cookie["samesite"], cookie["httponly"]) == (
            "/control",
            "strict",
            True,
        )
        assert cookie["max-age"] == str(LIFETIME_S)
        assert TOKEN not in cookie.value

    @pytest.mark.parametrize("token", ["", TOKEN[:-1], TOKEN.upper(), "ä", "0" * 64])
    def test_a_wrong_token_is_unauthorized(self, control: ControlApp, token: str) -> None:
        response = control.sign_in(token)
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
        assert "set-cookie" not in response.headers

    @pytest.mark.parametrize(
        "body",
        [b'{"token": "\\ud800"}', b'{"token": 7}', b"{}", b'{"token": "' + b"0" * 201 + b'"}'],
    )
    def test_a_malformed_token_is_rejected(self, control: ControlApp, body: bytes) -> None:
        response = control.request("POST", "/session", content=body, headers=JSON)
        assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")

    def test_extra_keys_of_the_sign_in_are_ignored(self, control: ControlApp) -> None:
        """An error text for each key would cost more than sending them."""
        body = {"token": "0" * 64} | {str(n): n for n in range(50_000)}
        response = control.request("POST", "/session", json=body)
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized")

    def test_a_newline_after_the_token_is_ignored(self, control: ControlApp) -> None:
        assert control.sign_in(f"{TOKEN}\n").status_code == 204

    def test_signing_out_deletes_the_cookie(self, control: ControlApp) -> None:
        response = control.request("DELETE", "/session")
        cookie = SimpleCookie(response.headers["set-cookie"])[COOKIE]
        assert (response.status_code, cookie.value, cookie["max-age"]) == (204, "", "0")
        assert cookie["path"] == "/control"

    def test_a_session_expires_after_its_lifetime(
        self, control: ControlApp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now_s = 1_800_000_000.0
        monkeypatch.setattr("serve_app.http.session.time.time", lambda: now_s)
        cookie = {"cookie": f"{COOKIE}={control.session_cookie()}"}
        now_s += LIFETIME_S - 1
        assert control.request("GET", "/status", headers=cookie).status_code == 200
        now_s += 2
        assert control.request("GET", "/status", headers=cookie).status_code == 401

    def test_a_tampered_session_is_unauthorized(self, control: ControlApp) -> None:
        expires, _, signature = control.session_cookie().partition(".")
        for forged in (
            f"{int(expires) + 60}.{signature}",
            f"{expires}.{signature[:-1]}",
            f"{expires}.{signature[::-1]}",
            f"{expires}.",
            f".{signature}",
            signature,
            f" {expires}.{signature}0",
        ):
            response = control.request("GET", "/status", headers={"cookie": f"{COOKIE}={forged}"})
            assert response.status_code == 401, forged

    def test_a_session_of_another_home_is_unauthorized(self, control: ControlApp) -> None:
        other = ControlApp()
        other.app = application(
            other.plane, Authenticator(TOKEN[::-1]), other.traces.append, empty_lifespan
        )
        cookie = {"cookie": f"{COOKIE}={control.session_cookie()}"}
        assert other.request("GET", "/status", headers=cookie).status_code == 401


class TestBodies:
    """A body above the limit is rejected before it is parsed and before the token is checked."""

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/session"),
            ("PUT", "/rule"),
            ("GET", "/status"),
            ("PUT", "/nothing"),
            ("POST", "/static/review.js"),
        ],
    )
    @pytest.mark.parametrize("headers", [{}, BEARER], ids=["no token", "token"])
    def test_a_content_length_above_the_limit_is_rejected_without_reading(
        self, control: ControlApp, method: str, path: str, headers: dict[str, str]
    ) -> None:
        async def unread_body() -> AsyncIterator[bytes]:
            raise AssertionError("the body is read")
            yield b""

        sent = headers | {"content-length": str(MAX_BODY_BYTES + 1)}
        response = control.request(method, path, content=unread_body(), headers=sent)
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
        assert control.plane.calls == []

    @pytest.mark.parametrize("path", ["/rule", "/session", "/status"])
    def test_a_stream_is_rejected_once_it_exceeds_the_limit(
        self, control: ControlApp, path: str
    ) -> None:
        sent = 0

        async def long_body() -> AsyncIterator[bytes]:
            nonlocal sent
            while sent < 4 * MAX_BODY_BYTES:
                sent += 2**16
                yield bytes(2**16)

        response = control.request("PUT", path, content=long_body(), headers=JSON)
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
        assert sent == MAX_BODY_BYTES + 2**16

    def test_a_body_of_the_maximum_size_is_read(self, control: ControlApp) -> None:
        body = json.dumps(RULE).encode().ljust(MAX_BODY_BYTES)
        assert control.request("PUT", "/rule", content=body, headers=BEARER | JSON).is_success
        assert control.plane.calls == [("set_rule", RULE["rule"], "anna", "a test")]

    def test_every_operation_with_a_body_documents_413(self, control: ControlApp) -> None:
        operations = [
            operation
            for item in control.app.openapi()["paths"].values()
            for operation in item.values()
        ]
        with_body = [operation for operation in operations if "requestBody" in operation]
        assert len(with_body) == 6
        assert [
            operation for operation in operations if "413" in operation["responses"]
        ] == with_body


class TestWrites:
    def test_deploy_passes_document_actor_and_reason(self, control: ControlApp) -> None:
        response = control.request("PUT", "/deployment", json=DEPLOYMENT, headers=BEARER)
        assert response.json() == {"revision": 7}
        assert control.plane.calls == [("deploy", {"applications": []}, "anna", "a test")]

    def test_set_rule_returns_revision_rule_id_and_warnings(self, control: ControlApp) -> None:
        response = control.request("PUT", "/rule", json=RULE, headers=BEARER)
        assert response.json() == {
            "revision": 7,
            "rule_id": "9f31c0aa",
            "warnings": ["high weight"],
        }
        assert control.plane.calls == [("set_rule", RULE["rule"], "anna", "a test")]

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (UPDATE, ("v2", "rolling", None)),
            (UPDATE | {"method": "recreate"}, ("v2", "recreate", None)),
            (RECREATION, ("v2", "recreate", {"pip": ["numpy"]})),
        ],
    )
    def test_an_update_is_accepted_with_202(
        self, control: ControlApp, body: dict[str, Any], expected: tuple[Any, ...]
    ) -> None:
        response = control.request("POST", "/updates", json=body, headers=BEARER)
        assert (response.status_code, response.json()) == (202, {"revision": 7})
        assert control.plane.calls == [("update", *expected, "anna", "a test", None)]

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"version": "2"}, "body.version"),
            ({"version": "v2/../v1"}, "body.version"),
            ({"method": "canary"}, "body.method"),
            ({"runtime_env": {}}, "runtime_env needs new processes: use the method recreate"),
            ({"runtime_env": [], "method": "recreate"}, "body.runtime_env"),
            ({"force": True}, "body.force"),
        ],
    )
    def test_an_invalid_update_is_rejected_with_the_key(
        self, control: ControlApp, change: dict[str, Any], error: str
    ) -> None:
        response = control.request("POST", "/updates", json=UPDATE | change, headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")
        assert error in response.json()["detail"]
        assert control.plane.calls == []

    def test_restore_returns_the_new_revision(self, control: ControlApp) -> None:
        response = control.request("POST", "/revisions/3/restore", json=CHANGE, headers=BEARER)
        assert response.json() == {"revision": 7}
        assert control.plane.calls == [("restore", 3, "anna", "a test", None)]

    @pytest.mark.parametrize("number", ["0", "-1", "x", "1.5", str(2**31)])
    def test_an_invalid_revision_number_is_rejected(self, control: ControlApp, number: str) -> None:
        response = control.request(
            "POST", f"/revisions/{number}/restore", json=CHANGE, headers=BEARER
        )
        assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")
        assert control.plane.calls == []

    @pytest.mark.parametrize(("path", "body"), POSTS)
    def test_the_idempotency_key_is_passed(
        self, control: ControlApp, path: str, body: dict[str, Any]
    ) -> None:
        headers = BEARER | {"idempotency-key": "a-key:1"}
        assert control.request("POST", path, json=body, headers=headers).is_success
        assert [call[-1] for call in control.plane.calls] == ["a-key:1"]

    @pytest.mark.parametrize(("path", "body"), POSTS)
    @pytest.mark.parametrize("key", ["", " ", "a key", "ä", "k" * 201])
    def test_an_invalid_idempotency_key_is_rejected(
        self, control: ControlApp, path: str, body: dict[str, Any], key: str
    ) -> None:
        headers = BEARER | {"idempotency-key": key.encode()}
        response = control.request("POST", path, json=body, headers=headers)
        assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")
        assert "Idempotency-Key" in response.json()["detail"]
        assert control.plane.calls == []

    def test_every_post_but_the_sign_in_documents_the_idempotency_key(
        self, control: ControlApp
    ) -> None:
        paths = control.app.openapi()["paths"]
        documented = {
            path
            for path, item in paths.items()
            for parameter in item.get("post", {}).get("parameters", [])
            if (parameter["name"], parameter["in"]) == ("Idempotency-Key", "header")
        }
        assert documented == {path for path in paths if "post" in paths[path]} - {"/session"}

    @pytest.mark.parametrize(("method", "path", "body"), CHANGES)
    @pytest.mark.parametrize("missing", ["actor", "reason"])
    def test_a_write_without_actor_or_reason_is_rejected(
        self, control: ControlApp, method: str, path: str, body: dict[str, Any], missing: str
    ) -> None:
        rest = {key: value for key, value in body.items() if key != missing}
        response = control.request(method, path, json=rest, headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")
        assert missing in response.json()["detail"]
        assert control.plane.calls == []

    @pytest.mark.parametrize(("method", "path", "body"), CHANGES)
    @pytest.mark.parametrize("key", ["actor", "reason"])
    @pytest.mark.parametrize("character", ["\0", "\n", "\x1b", "\x7f", "\x85"])
    def test_control_characters_in_actor_and_reason_are_rejected(
        self,
        control: ControlApp,
        method: str,
        path: str,
        body: dict[str, Any],
        key: str,
        character: str,
    ) -> None:
        """PostgreSQL stores no NUL, and a terminal interprets the others."""
        change = body | {key: f"é {character} x"}
        response = control.request(method, path, json=change, headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")
        error = f"character 3 is the control character U+{ord(character):04X}: expected one line"
        assert f"body.{key}: " in response.json()["detail"]
        assert error in response.json()["detail"]
        assert control.plane.calls == []

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b'{"document": [], "actor": "anna", "reason": ""}',
            b'{"document": {}, "actor": "", "reason": ""}',
            b'{"document": {}, "actor": "anna"}',
            b'{"document": {}, "actor": "anna", "reason": "", "force": true}',
        ],
    )
    def test_an_invalid_body_is_rejected_with_its_location(
        self, control: ControlApp, body: bytes
    ) -> None:
        response = control.request("PUT", "/deployment", content=body, headers=BEARER | JSON)
        assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")
        assert response.json()["detail"].startswith("body")
        assert control.plane.calls == []

    @pytest.mark.parametrize("path", ["/revisions", "/audit"])
    def test_the_limit_of_a_list_is_passed(self, control: ControlApp, path: str) -> None:
        control.request("GET", path, headers=BEARER)
        control.request("GET", f"{path}?limit=3", headers=BEARER)
        assert [call[-1] for call in control.plane.calls] == [50, 3]
        for limit in ("0", "1001", "x", "1.5"):
            response = control.request("GET", f"{path}?limit={limit}", headers=BEARER)
            assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")

    @pytest.mark.parametrize(("method", "path", "body"), CHANGES)
    @pytest.mark.parametrize(
        ("failure", "status"),
        [
            (NoSuchRevision("there is no revision 3"), 404),
            (UpdateInProgress("the data plane is being recreated"), 409),
            (KeyInUse("the first request is under way"), 409),
            (KeyMismatch("the key came with another request"), 422),
            (RejectedConfig("stable is v9"), 422),
            (NotReady("unreachable"), 503),
            (TooSlow("late"), 504),
        ],
    )
    def test_a_failed_write_is_a_problem(
        self,
        control: ControlApp,
        method: str,
        path: str,
        body: dict[str, Any],
        failure: Problem,
        status: int,
    ) -> None:
        control.plane.failure = failure
        response = control.request(method, path, json=body, headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (status, failure.code)
        assert response.json()["detail"] == str(failure)

    def test_an_unexpected_error_is_a_problem_without_its_text(self, control: ControlApp) -> None:
        control.plane.failure = RuntimeError("password=1234")
        response = control.request("GET", "/status", headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (500, "internal")
        assert "1234" not in response.text


class TestStoreReads:
    @pytest.mark.parametrize("path", STORE_READS)
    @pytest.mark.parametrize(
        "failure", [Busy("16 reads"), NotReady("unreachable"), TooSlow("late")]
    )
    def test_a_failed_read_is_a_problem(
        self, control: ControlApp, path: str, failure: Problem
    ) -> None:
        control.plane.failure = failure
        response = control.request("GET", path, headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (failure.status, failure.code)

    def test_all_store_reads_are_covered(self) -> None:
        assert len(STORE_READS) == 8


class TestReports:
    @pytest.mark.parametrize(
        ("name", "since"), [("traffic", "7d"), ("canary", None), ("ab", None), ("shadow", None)]
    )
    def test_the_defaults_are_all_regions_and_the_whole_experiment(
        self, control: ControlApp, name: str, since: str | None
    ) -> None:
        response = control.request("GET", f"/reports/{name}", headers=BEARER)
        assert (response.status_code, response.json()) == (200, {"report": name})
        assert control.plane.calls == [("report", name, since, None, None)]

    @pytest.mark.parametrize("name", ["canary", "ab"])
    def test_period_region_and_experiment_are_passed(self, control: ControlApp, name: str) -> None:
        params = {"since": "2026-11-23T08:00+01:00", "region": "oceania", "experiment": "koala"}
        control.request("GET", f"/reports/{name}", params=params, headers=BEARER)
        assert control.plane.calls == [("report", name, *params.values())]

    @pytest.mark.parametrize("name", ["traffic", "shadow"])
    def test_reports_without_an_experiment_ignore_the_parameter(
        self, control: ControlApp, name: str
    ) -> None:
        params = {"since": "1h", "region": "AU", "experiment": "koala"}
        control.request("GET", f"/reports/{name}", params=params, headers=BEARER)
        assert control.plane.calls == [("report", name, "1h", "AU", None)]
        parameters = control.app.openapi()["paths"][f"/reports/{name}"]["get"]["parameters"]
        assert {parameter["name"] for parameter in parameters} == {"since", "region"}

    @pytest.mark.parametrize("name", ["canary", "ab", "shadow"])
    def test_nothing_to_report_is_not_found(self, control: ControlApp, name: str) -> None:
        control.plane.failure = NothingToReport("no shadow was in force")
        response = control.request("GET", f"/reports/{name}", headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (404, "nothing_to_report")
        assert response.json()["detail"] == "no shadow was in force"

    @pytest.mark.parametrize("name", ["traffic", "canary", "ab", "shadow"])
    def test_an_invalid_period_is_rejected(self, control: ControlApp, name: str) -> None:
        control.plane.failure = BadPeriod("since is 'soon'")
        response = control.request("GET", f"/reports/{name}?since=soon", headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (422, "bad_period")

    @pytest.mark.parametrize("parameter", ["since", "region", "experiment"])
    def test_a_too_long_parameter_is_rejected(self, control: ControlApp, parameter: str) -> None:
        response = control.request("GET", f"/reports/ab?{parameter}={'x' * 101}", headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")
        assert control.plane.calls == []


class TestPages:
    """The pages are not part of the OpenAPI document."""

    @pytest.mark.parametrize(
        ("path", "media_type"),
        [
            ("/", "text/html"),
            ("/review", "text/html"),
            ("/static/console.js", "javascript"),
            ("/static/console.css", "css"),
            ("/static/review.js", "javascript"),
            ("/static/review.css", "css"),
        ],
    )
    def test_pages_need_no_token(self, control: ControlApp, path: str, media_type: str) -> None:
        response = asyncio.run(send_request(control.app, "GET", path))
        assert response.status_code == 200
        assert media_type in response.headers["content-type"]
        assert control.plane.calls == []

    @pytest.mark.parametrize("path", ["/", "/review"])
    def test_the_content_security_policy_allows_only_own_content(
        self, control: ControlApp, path: str
    ) -> None:
        response = asyncio.run(send_request(control.app, "GET", path))
        assert response.headers["content-security-policy"].startswith("default-src 'self'")

    @pytest.mark.parametrize("name", ["none.js", "%2e%2e/console.html", "../console.html"])
    def test_other_static_paths_are_not_found(self, control: ControlApp, name: str) -> None:
        response = control.request("GET", f"/static/{name}")
        assert (response.status_code, response.json()["code"]) == (404, "not_found")


class TestExport:
    def test_an_export_is_sent_as_a_file_and_removed(self, control: ControlApp) -> None:
        control.sign_in()
        response = control.request(
            "GET", "/export/exposures?kind=parquet&since=24h", headers=BEARER
        )
        assert response.content == b"a,b\r\n1,2\r\n"
        assert 'filename="exposures.parquet"' in response.headers["content-disposition"]
        assert control.plane.calls[-1] == ("export", "exposures", "parquet", "24h")
        assert not control.plane.exported.exists()

    def test_an_export_is_sent_in_chunks_of_fixed_size(self, control: ControlApp) -> None:
        control.plane.table = b"1,2\r\n" * 30_000
        chunks: list[bytes] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: MutableMapping[str, Any]) -> None:
            chunks.append(message.get("body", b""))

        scope = {
            "type": "http",
            "asgi": {"spec_version": "2.4"},
            "method": "GET",
            "path": "/export/exposures",
            "query_string": b"",
            "headers": [(b"authorization", BEARER["authorization"].encode())],
        }
        asyncio.run(control.app(scope, receive, send))
        assert b"".join(chunks) == control.plane.table
        full, last = divmod(len(control.plane.table), CHUNK_BYTES)
        assert [len(chunk) for chunk in chunks if chunk] == [CHUNK_BYTES] * full + [last]

    @pytest.mark.parametrize("path", ["/export/exposures?kind=xls", "/export/..%2Fhome"])
    def test_an_invalid_table_or_format_is_rejected(self, control: ControlApp, path: str) -> None:
        assert control.request("GET", path, headers=BEARER).status_code in (404, 422)
        assert not control.plane.calls

    def test_a_failed_export_is_a_problem(self, control: ControlApp) -> None:
        control.plane.failure = BadExport("there is no table x")
        response = control.request("GET", "/export/x", headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (422, "bad_export")
