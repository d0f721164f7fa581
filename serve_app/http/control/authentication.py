"""Who may use the control plane: two tokens of the home directory, and sessions of browsers.

| credential | opens |
|---|---|
| the token | everything |
| a session that was started with it | everything except deployment files and runtime environments |
| the reviewer token, or a session that was started with it | the reviews |
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from fastapi import Request

from serve_app.errors import Forbidden, Unauthorized
from serve_app.http.control.sessions import Role, Sessions

COOKIE = "serve_app_session"


class Authenticator:
    """Checks the credentials of a request.

    Attributes:
        sessions: Those of browsers.
    """

    def __init__(self, tokens: Mapping[Role, str], sessions: Sessions) -> None:
        self._tokens = tokens
        self.sessions = sessions

    def require_operator(self, request: Request) -> None:
        """Require the token, or a session that was started with it.

        Raises:
            Unauthorized: The request has no valid credential.
            Forbidden: The credential is a reviewer's.
        """
        if self._require_role(request) is not Role.OPERATOR:
            raise Forbidden(
                "the credential is a reviewer's, which opens reviews alone: use the token of the"
                " home directory"
            )

    def require_reviewer(self, request: Request) -> None:
        """Require any credential.

        Raises:
            Unauthorized: The request has none that is valid.
        """
        self._require_role(request)

    def require_token(self, request: Request) -> None:
        """Require the token itself: what follows may run code of the caller on the cluster.

        Raises:
            Forbidden: The request has only a session.
        """
        if self._bearer_role(request) is not Role.OPERATOR:
            raise Forbidden(
                "a session of the console cannot deploy a file or a runtime environment, which run"
                " code: send 'Authorization: Bearer TOKEN' with the token of the home directory"
            )

    def role(self, request: Request) -> Role | None:
        """The role of a request; None without a valid credential.

        Browsers do not send the cookie with requests from other sites (SameSite=Strict).
        """
        return self._bearer_role(request) or self.sessions.role(request.cookies.get(COOKIE, ""))

    def role_of_token(self, token: str) -> Role | None:
        """The role of a token; takes the same time for every wrong one."""
        matches = [
            role
            for role, expected in self._tokens.items()
            if hmac.compare_digest(token.encode(), expected.encode())
        ]
        return matches[0] if matches else None

    def _require_role(self, request: Request) -> Role:
        role = self.role(request)
        if role is None:
            raise Unauthorized(
                "the token is missing or wrong, or the session has ended: send 'Authorization:"
                " Bearer TOKEN' with the token of the home directory, or sign in on the console"
            )
        return role

    def _bearer_role(self, request: Request) -> Role | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return self.role_of_token(token.strip()) if scheme.lower() == "bearer" else None
