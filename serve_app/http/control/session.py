"""`/control/session`: signs browsers in and out."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from serve_app.errors import Unauthorized
from serve_app.http import documentation
from serve_app.http.control.authentication import COOKIE, Authenticator
from serve_app.http.control.sessions import LIFETIME_S, Role
from serve_app.http.problems import json_response

PATH = "/control"

logger = logging.getLogger(__name__)


class SignInRequest(BaseModel):
    """The sign-in form. Extra keys are ignored: listing them all is costly without a sign-in."""

    token: str = Field(max_length=200)


class SignedIn(BaseModel):
    role: Role = Field(description="What the session opens.")


def router(authenticator: Authenticator) -> APIRouter:
    """The router of `/session`."""
    routes = APIRouter(prefix="/session", tags=["session"])

    @routes.post(
        "",
        summary="Sign in",
        response_model=SignedIn,
        response_description="The session",
        responses=documentation.problem_responses(401, 408, 413, 422, 429),
    )
    async def sign_in(request: Request, body: SignInRequest) -> Response:
        role = authenticator.role_of_token(body.token.strip())
        if role is None:
            address = request.client.host if request.client else "unknown"
            logger.warning("sign_in.failed", extra={"address": address})
            raise Unauthorized("the token is wrong: send the token of the home directory")
        response = json_response({"role": role})
        response.set_cookie(
            COOKIE,
            authenticator.sessions.start(role),
            max_age=LIFETIME_S,
            path=PATH,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    @routes.delete("", status_code=204, summary="Sign out")
    async def sign_out(request: Request) -> Response:
        authenticator.sessions.end(request.cookies.get(COOKIE, ""))
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, path=PATH)
        return response

    return routes
