"""Signing in and out, and what each credential opens."""

from __future__ import annotations

import logging
import stat
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any

import pytest

from serve_app.http.control.authentication import COOKIE
from serve_app.http.control.sessions import LIFETIME_S, Role, Sessions
from tests.unit.http.control.conftest import (
    BEARER,
    CHANGES,
    DEPLOY,
    IMAGE_ID,
    JSON,
    RECREATE,
    REVIEW,
    REVIEWER_TOKEN,
    TOKEN,
    UPDATE,
    ControlApp,
    RecordingService,
)

REVIEWER = {"authorization": f"Bearer {REVIEWER_TOKEN}"}


def sign_in(service: RecordingService, token: str = TOKEN, origin: str = "") -> Morsel[str]:
    """The cookie of a successful sign-in."""
    response = service.request("POST", f"{origin}/session", headers={}, json={"token": token})
    assert response.status_code == 200
    return SimpleCookie(response.headers["set-cookie"])[COOKIE]


def cookie(session: str) -> dict[str, str]:
    return {"cookie": f"{COOKIE}={session}"}


def status_with(service: ControlApp, session: str) -> int:
    """The status of a protected route for a browser with a session."""
    return service.request("GET", "/status", headers=cookie(session)).status_code


class TestSigningIn:
    @pytest.mark.parametrize("token", [TOKEN, f"{TOKEN}\n"], ids=["token", "with a newline"])
    def test_the_token_grants_access(self, service: RecordingService, token: str) -> None:
        assert status_with(service, sign_in(service, token).value) == 200

    @pytest.mark.parametrize(("token", "role"), [(TOKEN, "operator"), (REVIEWER_TOKEN, "reviewer")])
    def test_the_response_names_the_role(
        self, service: RecordingService, token: str, role: str
    ) -> None:
        response = service.request("POST", "/session", headers={}, json={"token": token})
        assert response.json() == {"role": role}

    @pytest.mark.parametrize(("origin", "secure"), [("", ""), ("https://animals", True)])
    def test_the_cookie_is_restricted_to_the_control_plane(
        self, service: RecordingService, origin: str, secure: object
    ) -> None:
        cookie = sign_in(service, origin=origin)
        restrictions = [cookie[key] for key in ("path", "samesite", "httponly", "secure")]
        assert restrictions == ["/control", "strict", True, secure]
        assert cookie["max-age"] == str(LIFETIME_S)
        assert TOKEN not in cookie.value

    @pytest.mark.parametrize("token", ["", TOKEN[:-1], TOKEN.upper(), "ä", "0" * 64])
    def test_a_wrong_token_is_unauthorized_and_logged(
        self, service: RecordingService, token: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            response = service.request("POST", "/session", headers={}, json={"token": token})
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
        assert "set-cookie" not in response.headers
        (record,) = [r for r in caplog.records if r.message == "sign_in.failed"]
        assert vars(record)["address"] == "127.0.0.1"

    @pytest.mark.parametrize(
        "body",
        [b'{"token": "\\ud800"}', b'{"token": 7}', b"{}", b'{"token": "' + b"0" * 201 + b'"}'],
    )
    def test_a_malformed_token_is_rejected(self, service: RecordingService, body: bytes) -> None:
        error = service.error("POST", "/session", content=body, headers=JSON)
        assert error[:2] == (422, "bad_parameter")

    def test_extra_keys_are_ignored(self, service: RecordingService) -> None:
        """An error text for each key would cost more than sending them."""
        body = {"token": "0" * 64} | {str(n): n for n in range(100)}
        assert service.error("POST", "/session", json=body)[:2] == (401, "unauthorized")


class TestSessions:
    def test_signing_out_ends_the_session_and_deletes_the_cookie(
        self, service: RecordingService
    ) -> None:
        session = sign_in(service).value
        other = sign_in(service).value
        response = service.request("DELETE", "/session", headers=cookie(session))
        deleted = SimpleCookie(response.headers["set-cookie"])[COOKIE]
        assert (deleted.value, deleted["max-age"], deleted["path"]) == ("", "0", "/control")
        assert (status_with(service, session), status_with(service, other)) == (401, 200)

    def test_signing_out_without_a_session_succeeds(self, service: RecordingService) -> None:
        assert service.request("DELETE", "/session", headers={}).status_code == 204

    def test_a_session_expires_after_its_lifetime(
        self, service: RecordingService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now_s = 1_800_000_000.0
        monkeypatch.setattr("serve_app.http.control.sessions.time.time", lambda: now_s)
        session = sign_in(service).value
        now_s += LIFETIME_S - 1
        assert status_with(service, session) == 200
        now_s += 2
        assert status_with(service, session) == 401
        sign_in(service)
        assert len(list(service.sessions.iterdir())) == 1  # the expired one is removed

    @pytest.mark.parametrize("session", ["", "0" * 64, TOKEN, "../token", "\ud800", "a" * 10_000])
    def test_an_unknown_session_is_unauthorized(
        self, service: RecordingService, session: str
    ) -> None:
        sign_in(service)
        assert Sessions(service.sessions, b"key").role(session) is None

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"role": "root", "expires_s": 9e99}'])
    def test_a_damaged_session_is_unauthorized(
        self, service: RecordingService, content: str
    ) -> None:
        session = sign_in(service).value
        (path,) = service.sessions.iterdir()
        path.write_text(content)
        assert status_with(service, session) == 401

    def test_the_files_are_private_and_do_not_name_the_session(
        self, service: RecordingService
    ) -> None:
        session = sign_in(service).value
        (path,) = service.sessions.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert session not in path.name + path.read_text()

    def test_replicas_share_the_sessions(self, service: RecordingService) -> None:
        api: Any = service
        replica = ControlApp(api, api, service.sessions)
        assert status_with(replica, sign_in(service).value) == 200

    def test_another_token_ends_all_sessions(self, tmp_path: Path) -> None:
        session = Sessions(tmp_path, b"key").start(Role.OPERATOR)
        assert Sessions(tmp_path, b"key").role(session) is Role.OPERATOR
        assert Sessions(tmp_path, b"another").role(session) is None


class TestRoles:
    @pytest.mark.parametrize(("body", "path"), [(DEPLOY, "/deployment"), (RECREATE, "/updates")])
    def test_a_session_runs_no_code(
        self, service: RecordingService, body: dict[str, Any], path: str
    ) -> None:
        method = "PUT" if path == "/deployment" else "POST"
        session = cookie(sign_in(service).value)
        assert service.error(method, path, json=body, headers=session)[:2] == (403, "forbidden")
        assert service.calls == []
        assert service.request(method, path, json=body, headers=BEARER).is_success

    def test_a_session_makes_other_changes(self, service: RecordingService) -> None:
        session = cookie(sign_in(service).value)
        assert service.request("POST", "/updates", json=UPDATE, headers=session).is_success

    @pytest.mark.parametrize("kind", ["token", "session"])
    def test_a_reviewer_reviews_and_does_nothing_else(
        self, service: RecordingService, kind: str
    ) -> None:
        session = cookie(sign_in(service, REVIEWER_TOKEN).value)
        headers = REVIEWER if kind == "token" else session
        for path in ("/reviews", f"/reviews/{IMAGE_ID}", f"/reviews/{IMAGE_ID}/image"):
            assert service.request("GET", path, headers=headers).is_success
        path = f"/reviews/{IMAGE_ID}"
        assert service.request("POST", path, json=REVIEW, headers=headers).is_success
        before = len(service.calls)
        for sent in CHANGES[:-1]:
            error = service.error(sent.method, sent.path, json=sent.body, headers=headers)
            assert error[:2] == (403, "forbidden")
        for path in ("/status", "/audit", "/reports/traffic", "/export/epochs", "/deployment"):
            assert service.error("GET", path, headers=headers)[:2] == (403, "forbidden")
        assert len(service.calls) == before
