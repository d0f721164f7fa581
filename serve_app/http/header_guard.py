"""ASGI middleware that runs before Serve's request handling, in every proxy and ingress.

`RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH` names `middlewares`.
"""

from __future__ import annotations

import secrets

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.errors import BadHeader
from serve_app.http.disconnects import NO_SERVE_DETECTION
from serve_app.http.problems import problem_response
from serve_app.http.request_tracing import TIMEOUT_S
from serve_app.http.response_headers import set_defaults
from serve_app.http.serve_errors import convert_serve_errors
from serve_app.http.serve_headers import check_headers
from serve_app.trace import Trace

OWN_DETECTION = ("/v1/classify", "/infer")  # path suffixes; see `http.disconnects`


class HeaderGuard:
    """Checks the headers that Serve reads, and turns Serve's own error responses into problems.

    Also turns off Serve's disconnect detection for the routes that have their own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            if scope["type"] == "websocket":
                raise BadHeader("Upgrade is websocket: send plain HTTP requests")
            scope["headers"], scope[TIMEOUT_S] = check_headers(scope["headers"])
        except BadHeader as problem:
            trace = Trace(secrets.token_hex(8), scope.get("method", "GET"), scope["path"])
            response = problem_response(problem, trace)
            response.headers["X-Request-Id"] = trace.request_id
            set_defaults(response.headers)
            await response(scope, receive, send)
            return
        if scope["path"].endswith(OWN_DETECTION):
            scope["headers"].append(NO_SERVE_DETECTION)
        await self._app(scope, receive, convert_serve_errors(scope, receive, send))


def middlewares() -> list[Middleware]:
    """The middlewares that Serve installs."""
    return [Middleware(HeaderGuard)]
