"""Who may use the control plane: bearers of the token, and browsers that signed in with it."""

from __future__ import annotations

import hmac
import time
from hashlib import blake2b

from fastapi import Request, Response

from serve_app.errors import Unauthorized

COOKIE = "serve_app_session"
LIFETIME_S = 12 * 3600
PATH = "/control"


class Authenticator:
    """Checks the token of the home directory; a session is a signed expiry, kept nowhere."""

    def __init__(self, token: str) -> None:
        self._token = token

    def admit(self, request: Request) -> None:
        """Pass a bearer of the token, or a signed-in browser.

        The cookie is never sent along from other sites (SameSite=Strict).

        Raises:
            Unauthorized: Neither.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.knows(token.strip()):
            return
        if self._is_valid(request.cookies.get(COOKIE, "")):
            return
        raise Unauthorized(
            "send 'Authorization: Bearer TOKEN' with the token of the home directory,"
            " or sign in on the page"
        )

    def knows(self, token: str) -> bool:
        """Whether this is the token."""
        return hmac.compare_digest(token.encode(), self._token.encode())

    def sign_in(self, response: Response, *, secure: bool) -> None:
        """Give a browser its session."""
        expires = str(int(time.time()) + LIFETIME_S)
        response.set_cookie(
            COOKIE,
            f"{expires}.{self._signature(expires)}",
            max_age=LIFETIME_S,
            path=PATH,
            secure=secure,
            httponly=True,
            samesite="strict",
        )

    def sign_out(self, response: Response) -> None:
        """Take it back from the browser."""
        response.delete_cookie(COOKIE, path=PATH)

    def _is_valid(self, session: str) -> bool:
        expires, _, signature = session.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(expires).encode()):
            return False
        return int(expires) > time.time()

    def _signature(self, expires: str) -> str:
        return blake2b(
            expires.encode(), key=bytes.fromhex(self._token), digest_size=32, person=b"session"
        ).hexdigest()
