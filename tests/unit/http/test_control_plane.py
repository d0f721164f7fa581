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
from tests.unit.service import ask, check_documented

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
IMAGE = "/disagreements/0123456789ab-7"
REVIEW: tuple[str, str, dict[str, Any]] = (
    "POST",
    f"{IMAGE}/review",
    {"actor": "anna", "answer": "koala"},
)
POSTS = [(path, body) for method, path, body in (*CHANGES, REVIEW) if method == "POST"]
BEHIND_THE_DOOR = [
    ("GET", "/status", None),
    ("GET", "/deployment", None),
    ("GET", "/revisions", None),
    ("GET", "/audit", None),
    ("GET", "/reports/traffic", None),
    ("GET", "/reports/canary", None),
    ("GET", "/reports/ab", None),
    ("GET", "/reports/shadow", None),
    ("GET", "/export/epochs", None),
    ("GET", "/disagreements", None),
    ("GET", IMAGE, None),
    ("GET", f"{IMAGE}/image", None),
    REVIEW,
    *CHANGES,
]
READS = [
    path
    for method, path, _ in BEHIND_THE_DOOR
    if method == "GET" and path.startswith(("/reports", "/export", "/disagreements"))
]


class FakeController:
    """Remembers what it was asked.

    Attributes:
        failure: What every call meets.
        table: What every export holds.
    """

    def __init__(self) -> None:
        self.table = b"a,b\r\n1,2\r\n"
        self.asked: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None

    async def status(self) -> dict[str, Any]:
        return self._note({"applications": {}}, "status")

    async def deployed(self) -> dict[str, Any]:
        return self._note({"applications": []}, "deployed")

    async def deploy(self, document: dict[str, Any], actor: str, reason: str) -> int:
        return self._note(7, "deploy", document, actor, reason)

    async def set_rule(self, content: dict[str, Any], actor: str, reason: str) -> dict[str, Any]:
        answer = {"revision": 7, "rule_id": "9f31c0aa", "warnings": ["seldom wise"]}
        return self._note(answer, "set_rule", content, actor, reason)

    async def update(
        self,
        version: str,
        method: str,
        runtime_env: dict[str, Any] | None,
        actor: str,
        reason: str,
        key: str | None,
    ) -> int:
        return self._note(7, "update", version, method, runtime_env, actor, reason, key)

    async def restore(self, number: int, actor: str, reason: str, key: str | None) -> int:
        return self._note(7, "restore", number, actor, reason, key)

    async def revisions(self, limit: int) -> list[dict[str, Any]]:
        return self._note([{"number": 7}], "revisions", limit)

    async def audit(self, limit: int) -> list[dict[str, Any]]:
        return self._note([{"action": "deploy"}], "audit", limit)

    async def report(
        self, name: str, since: str | None, region: str | None, experiment: str | None
    ) -> dict[str, Any]:
        return self._note({"report": name}, "report", name, since, region, experiment)

    async def export(self, table: str, kind: str, since: str) -> Path:
        number, name = tempfile.mkstemp()
        os.close(number)
        self.exported = Path(name)
        self.exported.write_bytes(self.table)
        return self._note(self.exported, "export", table, kind, since)

    async def disagreements(self, limit: int, reviewed: bool) -> dict[str, Any]:
        return self._note({"disagreements": []}, "disagreements", limit, reviewed)

    async def disagreement(self, image_id: str) -> dict[str, Any]:
        return self._note({"id": image_id}, "disagreement", image_id)

    async def image(self, image_id: str) -> bytes:
        return self._note(b"\xff\xd8\xff", "image", image_id)

    async def review(
        self, image_id: str, answer: str, actor: str, reason: str, key: str | None
    ) -> dict[str, Any]:
        answered = {"id": image_id}
        return self._note(answered, "review", image_id, answer, actor, reason, key)

    def _note(self, answer: T, *asked: Any) -> T:
        self.asked.append(asked)
        if self.failure:
            raise self.failure
        return answer


@contextlib.asynccontextmanager
async def nothing_beside(_: FastAPI) -> AsyncIterator[None]:
    yield


class Console:
    def __init__(self) -> None:
        self.controller = FakeController()
        self.traces: list[Trace] = []
        self.app = application(
            self.controller, Authenticator(TOKEN), self.traces.append, nothing_beside
        )

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = asyncio.run(ask(self.app, method, path, **options))
        assert self.traces[-1].status == response.status_code
        check_documented(self.app, self.traces[-1].route, response)
        return response

    def sign_in(self, token: str = TOKEN, **options: Any) -> httpx.Response:
        return self.ask("POST", "/session", json={"token": token}, **options)

    def session(self) -> str:
        """What a browser that signed in sends along."""
        return SimpleCookie(self.sign_in().headers["set-cookie"])[COOKIE].value


@pytest.fixture
def console() -> Console:
    return Console()


class TestTheDoor:
    @pytest.mark.parametrize(("method", "path", "body"), BEHIND_THE_DOOR)
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
    def test_nothing_is_told_or_done_without_the_token(
        self, console: Console, method: str, path: str, body: Any, headers: dict[str, Any]
    ) -> None:
        response = console.ask(method, path, json=body, headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"
        assert console.controller.asked == []

    def test_every_route_of_the_document_is_behind_the_door_but_the_session(
        self, console: Console
    ) -> None:
        documented = {
            (method.upper(), path)
            for path, item in console.app.openapi()["paths"].items()
            for method in item
        }
        assert documented - {("POST", "/session"), ("DELETE", "/session")} == {
            (
                method,
                path.replace("/3/", "/{number}/")
                .replace("/epochs", "/{table}")
                .replace(IMAGE, "/disagreements/{image_id}"),
            )
            for method, path, _ in BEHIND_THE_DOOR
        }

    @pytest.mark.parametrize(("method", "path", "body"), BEHIND_THE_DOOR)
    @pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
    def test_a_bearer_of_the_token_is_let_in(
        self, console: Console, method: str, path: str, body: Any, scheme: str
    ) -> None:
        headers = {"authorization": f"{scheme} {TOKEN}"}
        assert console.ask(method, path, json=body, headers=headers).is_success
        assert len(console.controller.asked) == 1


class TestSessions:
    def test_a_browser_signs_in_with_the_token(self, console: Console) -> None:
        cookie = {"cookie": f"{COOKIE}={console.session()}"}
        assert console.ask("GET", "/status", headers=cookie).status_code == 200

    def test_its_cookie_goes_nowhere_else(self, console: Console) -> None:
        cookie = SimpleCookie(console.sign_in().headers["set-cookie"])[COOKIE]
        assert (cookie["path"], cookie["samesite"], cookie["httponly"]) == (
            "/control",
            "strict",
            True,
        )
        assert cookie["max-age"] == str(LIFETIME_S)
        assert TOKEN not in cookie.value

    @pytest.mark.parametrize("token", ["", TOKEN[:-1], TOKEN.upper(), "ä", "0" * 64])
    def test_another_token_signs_nobody_in(self, console: Console, token: str) -> None:
        response = console.sign_in(token)
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
        assert "set-cookie" not in response.headers

    @pytest.mark.parametrize(
        "body",
        [b'{"token": "\\ud800"}', b'{"token": 7}', b"{}", b'{"token": "' + b"0" * 201 + b'"}'],
    )
    def test_what_is_no_token_signs_nobody_in(self, console: Console, body: bytes) -> None:
        response = console.ask("POST", "/session", content=body, headers=JSON)
        assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")

    def test_keys_that_nobody_asked_for_are_not_looked_at(self, console: Console) -> None:
        """To tell of each of them would cost more than to send them."""
        wrong = {"token": "0" * 64} | {str(n): n for n in range(50_000)}
        response = console.ask("POST", "/session", json=wrong)
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized")

    def test_a_token_may_be_pasted_with_its_line_end(self, console: Console) -> None:
        assert console.sign_in(f"{TOKEN}\n").status_code == 204

    def test_signing_out_takes_the_session_from_the_browser(self, console: Console) -> None:
        response = console.ask("DELETE", "/session")
        cookie = SimpleCookie(response.headers["set-cookie"])[COOKIE]
        assert (response.status_code, cookie.value, cookie["max-age"]) == (204, "", "0")
        assert cookie["path"] == "/control"

    def test_a_session_ends_after_its_lifetime(
        self, console: Console, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now_s = 1_800_000_000.0
        monkeypatch.setattr("serve_app.http.session.time.time", lambda: now_s)
        cookie = {"cookie": f"{COOKIE}={console.session()}"}
        now_s += LIFETIME_S - 1
        assert console.ask("GET", "/status", headers=cookie).status_code == 200
        now_s += 2
        assert console.ask("GET", "/status", headers=cookie).status_code == 401

    def test_a_tampered_session_lets_nobody_in(self, console: Console) -> None:
        expires, _, signature = console.session().partition(".")
        for forged in (
            f"{int(expires) + 60}.{signature}",
            f"{expires}.{signature[:-1]}",
            f"{expires}.{signature[::-1]}",
            f"{expires}.",
            f".{signature}",
            signature,
            f" {expires}.{signature}0",
        ):
            response = console.ask("GET", "/status", headers={"cookie": f"{COOKIE}={forged}"})
            assert response.status_code == 401, forged

    def test_a_session_of_another_home_lets_nobody_in(self, console: Console) -> None:
        other = Console()
        other.app = application(
            other.controller, Authenticator(TOKEN[::-1]), other.traces.append, nothing_beside
        )
        cookie = {"cookie": f"{COOKIE}={console.session()}"}
        assert other.ask("GET", "/status", headers=cookie).status_code == 401


class TestBodies:
    """One that is too large is rejected before anything is parsed, or a token asked for."""

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
    @pytest.mark.parametrize("headers", [{}, BEARER], ids=["nobody", "bearer"])
    def test_an_announced_size_above_the_limit_is_rejected_unread(
        self, console: Console, method: str, path: str, headers: dict[str, str]
    ) -> None:
        async def never() -> AsyncIterator[bytes]:
            raise AssertionError("the body is read")
            yield b""

        announced = headers | {"content-length": str(MAX_BODY_BYTES + 1)}
        response = console.ask(method, path, content=never(), headers=announced)
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
        assert console.controller.asked == []

    @pytest.mark.parametrize("path", ["/rule", "/session", "/status"])
    def test_a_stream_above_the_limit_is_rejected_where_it_crosses_it(
        self, console: Console, path: str
    ) -> None:
        sent = 0

        async def long() -> AsyncIterator[bytes]:
            nonlocal sent
            while sent < 4 * MAX_BODY_BYTES:
                sent += 2**16
                yield bytes(2**16)

        response = console.ask("PUT", path, content=long(), headers=JSON)
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
        assert sent == MAX_BODY_BYTES + 2**16

    def test_a_body_as_large_as_the_limit_is_read(self, console: Console) -> None:
        body = json.dumps(RULE).encode().ljust(MAX_BODY_BYTES)
        assert console.ask("PUT", "/rule", content=body, headers=BEARER | JSON).is_success
        assert console.controller.asked == [("set_rule", RULE["rule"], "anna", "a test")]

    def test_every_path_that_takes_a_body_documents_it(self, console: Console) -> None:
        operations = [
            operation
            for item in console.app.openapi()["paths"].values()
            for operation in item.values()
        ]
        taking = [operation for operation in operations if "requestBody" in operation]
        assert len(taking) == 6
        assert [operation for operation in operations if "413" in operation["responses"]] == taking


class TestWhatIsAsked:
    def test_a_deployment_is_handed_on_with_who_and_why(self, console: Console) -> None:
        response = console.ask("PUT", "/deployment", json=DEPLOYMENT, headers=BEARER)
        assert response.json() == {"revision": 7}
        assert console.controller.asked == [("deploy", {"applications": []}, "anna", "a test")]

    def test_a_rule_is_handed_on_and_its_warnings_come_back(self, console: Console) -> None:
        response = console.ask("PUT", "/rule", json=RULE, headers=BEARER)
        assert response.json() == {
            "revision": 7,
            "rule_id": "9f31c0aa",
            "warnings": ["seldom wise"],
        }
        assert console.controller.asked == [("set_rule", RULE["rule"], "anna", "a test")]

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (UPDATE, ("v2", "rolling", None)),
            (UPDATE | {"method": "recreate"}, ("v2", "recreate", None)),
            (RECREATION, ("v2", "recreate", {"pip": ["numpy"]})),
        ],
    )
    def test_an_update_is_accepted_and_goes_on(
        self, console: Console, body: dict[str, Any], expected: tuple[Any, ...]
    ) -> None:
        response = console.ask("POST", "/updates", json=body, headers=BEARER)
        assert (response.status_code, response.json()) == (202, {"revision": 7})
        assert console.controller.asked == [("update", *expected, "anna", "a test", None)]

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"version": "2"}, "body.version"),
            ({"version": "v2/../v1"}, "body.version"),
            ({"method": "canary"}, "body.method"),
            ({"runtime_env": {}}, "runtime_env takes new processes: use the method recreate"),
            ({"runtime_env": [], "method": "recreate"}, "body.runtime_env"),
            ({"force": True}, "body.force"),
        ],
    )
    def test_an_impossible_update_is_told_where(
        self, console: Console, change: dict[str, Any], told: str
    ) -> None:
        response = console.ask("POST", "/updates", json=UPDATE | change, headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")
        assert told in response.json()["detail"]
        assert console.controller.asked == []

    def test_a_revision_is_restored_by_its_number(self, console: Console) -> None:
        response = console.ask("POST", "/revisions/3/restore", json=CHANGE, headers=BEARER)
        assert response.json() == {"revision": 7}
        assert console.controller.asked == [("restore", 3, "anna", "a test", None)]

    @pytest.mark.parametrize("number", ["0", "-1", "x", "1.5", str(2**31)])
    def test_what_is_no_number_of_a_revision_is_told(self, console: Console, number: str) -> None:
        response = console.ask("POST", f"/revisions/{number}/restore", json=CHANGE, headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")
        assert console.controller.asked == []

    @pytest.mark.parametrize(("path", "body"), POSTS)
    def test_a_key_is_handed_on(self, console: Console, path: str, body: dict[str, Any]) -> None:
        headers = BEARER | {"idempotency-key": "a-key:1"}
        assert console.ask("POST", path, json=body, headers=headers).is_success
        assert [asked[-1] for asked in console.controller.asked] == ["a-key:1"]

    @pytest.mark.parametrize(("path", "body"), POSTS)
    @pytest.mark.parametrize("key", ["", " ", "a key", "ä", "k" * 201])
    def test_what_is_no_key_is_told(
        self, console: Console, path: str, body: dict[str, Any], key: str
    ) -> None:
        headers = BEARER | {"idempotency-key": key.encode()}
        response = console.ask("POST", path, json=body, headers=headers)
        assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")
        assert "Idempotency-Key" in response.json()["detail"]
        assert console.controller.asked == []

    def test_every_post_that_changes_something_documents_the_key(self, console: Console) -> None:
        paths = console.app.openapi()["paths"]
        documented = {
            path
            for path, item in paths.items()
            for parameter in item.get("post", {}).get("parameters", [])
            if (parameter["name"], parameter["in"]) == ("Idempotency-Key", "header")
        }
        assert documented == {path for path in paths if "post" in paths[path]} - {"/session"}

    @pytest.mark.parametrize(("method", "path", "body"), CHANGES)
    @pytest.mark.parametrize("missing", ["actor", "reason"])
    def test_nobody_changes_anything_without_a_name_and_a_reason(
        self, console: Console, method: str, path: str, body: dict[str, Any], missing: str
    ) -> None:
        rest = {key: value for key, value in body.items() if key != missing}
        response = console.ask(method, path, json=rest, headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")
        assert missing in response.json()["detail"]
        assert console.controller.asked == []

    @pytest.mark.parametrize(("method", "path", "body"), CHANGES)
    @pytest.mark.parametrize("key", ["actor", "reason"])
    @pytest.mark.parametrize("character", ["\0", "\n", "\x1b", "\x7f", "\x85"])
    def test_who_and_why_are_a_line_of_text_each(
        self,
        console: Console,
        method: str,
        path: str,
        body: dict[str, Any],
        key: str,
        character: str,
    ) -> None:
        """PostgreSQL stores no NUL, and a terminal obeys the others."""
        change = body | {key: f"é {character} x"}
        response = console.ask(method, path, json=change, headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")
        told = f"character 3 is the control character U+{ord(character):04X}: expected one line"
        assert f"body.{key}: " in response.json()["detail"]
        assert told in response.json()["detail"]
        assert console.controller.asked == []

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
    def test_an_impossible_body_is_told_where(self, console: Console, body: bytes) -> None:
        response = console.ask("PUT", "/deployment", content=body, headers=BEARER | JSON)
        assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")
        assert response.json()["detail"].startswith("body")
        assert console.controller.asked == []

    @pytest.mark.parametrize("path", ["/revisions", "/audit"])
    def test_a_list_is_as_long_as_asked(self, console: Console, path: str) -> None:
        console.ask("GET", path, headers=BEARER)
        console.ask("GET", f"{path}?limit=3", headers=BEARER)
        assert [asked[-1] for asked in console.controller.asked] == [50, 3]
        for limit in ("0", "1001", "x", "1.5"):
            response = console.ask("GET", f"{path}?limit={limit}", headers=BEARER)
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
            (NotReady("gone"), 503),
            (TooSlow("late"), 504),
        ],
    )
    def test_what_the_controller_rejects_is_told(
        self,
        console: Console,
        method: str,
        path: str,
        body: dict[str, Any],
        failure: Problem,
        status: int,
    ) -> None:
        console.controller.failure = failure
        response = console.ask(method, path, json=body, headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (status, failure.code)
        assert response.json()["detail"] == str(failure)

    def test_an_error_that_nobody_expected_is_a_problem(self, console: Console) -> None:
        console.controller.failure = RuntimeError("password=1234")
        response = console.ask("GET", "/status", headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (500, "internal")
        assert "1234" not in response.text


class TestReads:
    @pytest.mark.parametrize("path", READS)
    @pytest.mark.parametrize("failure", [Busy("16 reads"), NotReady("gone"), TooSlow("late")])
    def test_where_the_store_does_not_answer_its_reader_is_told(
        self, console: Console, path: str, failure: Problem
    ) -> None:
        console.controller.failure = failure
        response = console.ask("GET", path, headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (failure.status, failure.code)

    def test_there_are_reads(self) -> None:
        assert len(READS) == 8


class TestReports:
    @pytest.mark.parametrize(
        ("name", "since"), [("traffic", "7d"), ("canary", None), ("ab", None), ("shadow", None)]
    )
    def test_it_is_of_everywhere_and_an_experiment_is_whole(
        self, console: Console, name: str, since: str | None
    ) -> None:
        response = console.ask("GET", f"/reports/{name}", headers=BEARER)
        assert (response.status_code, response.json()) == (200, {"report": name})
        assert console.controller.asked == [("report", name, since, None, None)]

    @pytest.mark.parametrize("name", ["canary", "ab"])
    def test_what_is_asked_is_handed_on(self, console: Console, name: str) -> None:
        asked = {"since": "2026-11-23T08:00+01:00", "region": "oceania", "experiment": "koala"}
        console.ask("GET", f"/reports/{name}", params=asked, headers=BEARER)
        assert console.controller.asked == [("report", name, *asked.values())]

    @pytest.mark.parametrize("name", ["traffic", "shadow"])
    def test_some_are_of_no_experiment(self, console: Console, name: str) -> None:
        asked = {"since": "1h", "region": "AU", "experiment": "koala"}
        console.ask("GET", f"/reports/{name}", params=asked, headers=BEARER)
        assert console.controller.asked == [("report", name, "1h", "AU", None)]
        parameters = console.app.openapi()["paths"][f"/reports/{name}"]["get"]["parameters"]
        assert {parameter["name"] for parameter in parameters} == {"since", "region"}

    @pytest.mark.parametrize("name", ["canary", "ab", "shadow"])
    def test_nothing_to_report_is_told(self, console: Console, name: str) -> None:
        console.controller.failure = NothingToReport("no shadow was in force")
        response = console.ask("GET", f"/reports/{name}", headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (404, "nothing_to_report")
        assert response.json()["detail"] == "no shadow was in force"

    @pytest.mark.parametrize("name", ["traffic", "canary", "ab", "shadow"])
    def test_an_impossible_period_is_told(self, console: Console, name: str) -> None:
        console.controller.failure = BadPeriod("since is 'soon'")
        response = console.ask("GET", f"/reports/{name}?since=soon", headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (422, "bad_period")

    @pytest.mark.parametrize("parameter", ["since", "region", "experiment"])
    def test_what_is_too_long_is_rejected(self, console: Console, parameter: str) -> None:
        response = console.ask("GET", f"/reports/ab?{parameter}={'x' * 101}", headers=BEARER)
        assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")
        assert console.controller.asked == []


class TestThePage:
    """It is for people: no part of the OpenAPI document."""

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
    def test_anybody_may_see_the_empty_page(
        self, console: Console, path: str, media_type: str
    ) -> None:
        response = asyncio.run(ask(console.app, "GET", path))
        assert response.status_code == 200
        assert media_type in response.headers["content-type"]
        assert console.controller.asked == []

    @pytest.mark.parametrize("path", ["/", "/review"])
    def test_nothing_foreign_may_be_put_into_it(self, console: Console, path: str) -> None:
        response = asyncio.run(ask(console.app, "GET", path))
        assert response.headers["content-security-policy"].startswith("default-src 'self'")

    @pytest.mark.parametrize("name", ["none.js", "%2e%2e/console.html", "../console.html"])
    def test_nothing_else_is_served(self, console: Console, name: str) -> None:
        response = console.ask("GET", f"/static/{name}")
        assert (response.status_code, response.json()["code"]) == (404, "not_found")


class TestExport:
    def test_a_table_comes_as_a_file_that_does_not_stay(self, console: Console) -> None:
        console.sign_in()
        answer = console.ask("GET", "/export/exposures?kind=parquet&since=24h", headers=BEARER)
        assert answer.content == b"a,b\r\n1,2\r\n"
        assert 'filename="exposures.parquet"' in answer.headers["content-disposition"]
        assert console.controller.asked[-1] == ("export", "exposures", "parquet", "24h")
        assert not console.controller.exported.exists()

    def test_it_is_sent_in_few_pieces_however_many_lines_it_has(self, console: Console) -> None:
        console.controller.table = b"1,2\r\n" * 30_000
        pieces: list[bytes] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: MutableMapping[str, Any]) -> None:
            pieces.append(message.get("body", b""))

        scope = {
            "type": "http",
            "asgi": {"spec_version": "2.4"},
            "method": "GET",
            "path": "/export/exposures",
            "query_string": b"",
            "headers": [(b"authorization", BEARER["authorization"].encode())],
        }
        asyncio.run(console.app(scope, receive, send))
        assert b"".join(pieces) == console.controller.table
        full, last = divmod(len(console.controller.table), CHUNK_BYTES)
        assert [len(piece) for piece in pieces if piece] == [CHUNK_BYTES] * full + [last]

    @pytest.mark.parametrize("path", ["/export/exposures?kind=xls", "/export/..%2Fhome"])
    def test_what_is_no_table_or_format_is_rejected(self, console: Console, path: str) -> None:
        assert console.ask("GET", path, headers=BEARER).status_code in (404, 422)
        assert not console.controller.asked

    def test_a_rejection_says_why(self, console: Console) -> None:
        console.controller.failure = BadExport("there is no table x")
        answer = console.ask("GET", "/export/x", headers=BEARER)
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_export")
