from __future__ import annotations

from http.cookies import Morsel, SimpleCookie
from typing import Any

import pytest

from serve_app.http.control.session import COOKIE, LIFETIME_S
from tests.unit.http.control.conftest import JSON, TOKEN, ControlApp, RecordingService


def sign_in(service: RecordingService, token: str = TOKEN, origin: str = "") -> Morsel[str]:
    """The cookie of a successful sign-in."""
    response = service.request("POST", f"{origin}/session", headers={}, json={"token": token})
    assert response.status_code == 204
    return SimpleCookie(response.headers["set-cookie"])[COOKIE]


def status_with(service: ControlApp, session: str) -> int:
    """The status of a protected route for a browser with a session."""
    headers = {"cookie": f"{COOKIE}={session}"}
    return service.request("GET", "/status", headers=headers).status_code


@pytest.mark.parametrize("token", [TOKEN, f"{TOKEN}\n"], ids=["token", "with a newline"])
def test_signing_in_with_the_token_grants_access(service: RecordingService, token: str) -> None:
    assert status_with(service, sign_in(service, token).value) == 200


@pytest.mark.parametrize(("origin", "secure"), [("", ""), ("https://animals", True)])
def test_the_cookie_is_restricted_to_the_control_plane(
    service: RecordingService, origin: str, secure: object
) -> None:
    cookie = sign_in(service, origin=origin)
    restrictions = [cookie[key] for key in ("path", "samesite", "httponly", "secure", "max-age")]
    assert restrictions == ["/control", "strict", True, secure, str(LIFETIME_S)]
    assert TOKEN not in cookie.value


@pytest.mark.parametrize("token", ["", TOKEN[:-1], TOKEN.upper(), "ä", "0" * 64])
def test_a_wrong_token_is_unauthorized(service: RecordingService, token: str) -> None:
    response = service.request("POST", "/session", headers={}, json={"token": token})
    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    "body", [b'{"token": "\\ud800"}', b'{"token": 7}', b"{}", b'{"token": "' + b"0" * 201 + b'"}']
)
def test_a_malformed_token_is_rejected(service: RecordingService, body: bytes) -> None:
    error = service.error("POST", "/session", content=body, headers=JSON)
    assert error[:2] == (422, "bad_parameter")


def test_extra_keys_of_the_sign_in_are_ignored(service: RecordingService) -> None:
    """An error text for each key would cost more than sending them."""
    body = {"token": "0" * 64} | {str(n): n for n in range(50_000)}
    assert service.error("POST", "/session", json=body)[:2] == (401, "unauthorized")


def test_signing_out_deletes_the_cookie(service: RecordingService) -> None:
    response = service.request("DELETE", "/session", headers={})
    cookie = SimpleCookie(response.headers["set-cookie"])[COOKIE]
    assert (cookie.value, cookie["max-age"], cookie["path"]) == ("", "0", "/control")


def test_a_session_expires_after_its_lifetime(
    service: RecordingService, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1_800_000_000.0
    monkeypatch.setattr("serve_app.http.control.session.time.time", lambda: now_s)
    session = sign_in(service).value
    now_s += LIFETIME_S - 1
    assert status_with(service, session) == 200
    now_s += 2
    assert status_with(service, session) == 401


def test_a_tampered_session_is_unauthorized(service: RecordingService) -> None:
    expires, _, signature = sign_in(service).value.partition(".")
    for forged in (
        TOKEN,
        f"{int(expires) + 60}.{signature}",
        f"{expires}.{signature[:-1]}",
        f"{expires}.{signature[::-1]}",
        f"{expires}.",
        f".{signature}",
        signature,
        f" {expires}.{signature}0",
    ):
        assert status_with(service, forged) == 401, forged


def test_a_session_of_another_home_is_unauthorized(service: RecordingService) -> None:
    api: Any = service
    assert status_with(ControlApp(api, api, TOKEN[::-1]), sign_in(service).value) == 401
