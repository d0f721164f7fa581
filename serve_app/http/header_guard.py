"""ASGI middleware that runs before Serve's request handling, in every proxy and ingress.

Serve decodes three headers as UTF-8 before it calls the application, and responds with 500 if one
cannot be decoded. `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH` names `middlewares`.
"""

from __future__ import annotations

import secrets

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.errors import BadHeader
from serve_app.http.disconnects import NO_SERVE_DETECTION
from serve_app.http.problems import problem_response
from serve_app.trace import Trace

OWN_DETECTION = ("/v1/classify", "/infer")  # path suffixes; see `http.disconnects`
DECODED_BY_SERVE = (b"x-request-id", b"x-session-id", b"serve_multiplexed_model_id")


class HeaderGuard:
    """Responds with 400 to headers that Serve cannot decode, and sets the request id of such a
    response, which otherwise Serve sets.

    Also turns off Serve's disconnect detection for the routes that have their own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (name := _undecodable_header(scope)):
            problem = BadHeader(f"{name.title()} is not UTF-8: send UTF-8 text, or omit the header")
            trace = Trace(secrets.token_hex(8), scope["method"], scope["path"])
            response = problem_response(problem, trace)
            response.headers["X-Request-Id"] = trace.request_id
            await response(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"].endswith(OWN_DETECTION):
            scope["headers"] = [*scope["headers"], NO_SERVE_DETECTION]
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """The middlewares that Serve installs."""
    return [Middleware(HeaderGuard)]


def _undecodable_header(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name in DECODED_BY_SERVE:
            try:
                value.decode()
            except UnicodeDecodeError:
                return str(name, "ascii")
    return None
