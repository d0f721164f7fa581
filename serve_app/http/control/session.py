"""Authentication of the control plane: the token, or a session cookie of a signed-in browser."""

from __future__ import annotations

import hmac
import time
from hashlib import blake2b

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from serve_app.errors import Unauthorized
from serve_app.http import documentation

COOKIE = "serve_app_session"
LIFETIME_S = 12 * 3600
PATH = "/control"


class Authenticator:
    """Checks the token of the home directory. A session is a signed expiry time, not stored."""

    def __init__(self, token: str) -> None:
        self._token = token

    def require_token(self, request: Request) -> None:
        """Require the token in the header Authorization, or a valid session cookie.

        Browsers do not send the cookie with requests from other sites (SameSite=Strict).

        Raises:
            Unauthorized: The request has neither.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(token.strip()):
            return
        if self._is_valid_session(request.cookies.get(COOKIE, "")):
            return
        raise Unauthorized(
            "the token is missing or wrong: send 'Authorization: Bearer TOKEN' with the token of"
            " the home directory, or sign in on the console"
        )

    def is_token(self, token: str) -> bool:
        """Whether this is the token; takes the same time for every wrong token."""
        return hmac.compare_digest(token.encode(), self._token.encode())

    def set_session_cookie(self, response: Response, *, secure: bool) -> None:
        """Start a session; `secure` restricts the cookie to HTTPS."""
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

    def delete_session_cookie(self, response: Response) -> None:
        """End the session of the browser."""
        response.delete_cookie(COOKIE, path=PATH)

    def _is_valid_session(self, session: str) -> bool:
        expires, _, signature = session.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(expires).encode()):
            return False
        return int(expires) > time.time()

    def _signature(self, expires: str) -> str:
        return blake2b(
            expires.encode(), key=bytes.fromhex(self._token), digest_size=32, person=b"session"
        ).hexdigest()


class SignInRequest(BaseModel):
    """The sign-in form. Extra keys are ignored: listing them all is costly without a sign-in."""

    token: str = Field(max_length=200)


def router(authenticator: Authenticator) -> APIRouter:
    """The router of `/session`."""
    routes = APIRouter(prefix="/session", tags=["session"])

    @routes.post(
        "",
        status_code=204,
        summary="Sign in",
        responses=documentation.problem_responses(401, 408, 413, 422),
    )
    async def sign_in(request: Request, body: SignInRequest) -> Response:
        if not authenticator.is_token(body.token.strip()):
            raise Unauthorized("the token is wrong: send the token of the home directory")
        response = Response(status_code=204)
        authenticator.set_session_cookie(response, secure=request.url.scheme == "https")
        return response

    @routes.delete("", status_code=204, summary="Sign out")
    async def sign_out() -> Response:
        response = Response(status_code=204)
        authenticator.delete_session_cookie(response)
        return response

    return routes
