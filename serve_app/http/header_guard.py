"""What stands before Serve's own handling of a request, in every proxy and ingress.

Serve decodes three headers as UTF-8 before any of our code is asked, and answers 500 where one is
not. `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH` names `middlewares`.
"""

from __future__ import annotations

import secrets

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.errors import BadHeader
from serve_app.http.disconnects import UNWATCHED
from serve_app.http.problems import respond
from serve_app.trace import Trace

OWN_DETECTION = ("/v1/classify", "/infer")  # the ends of their paths; see `http.disconnects`
DECODED_BY_SERVE = (b"x-request-id", b"x-session-id", b"serve_multiplexed_model_id")


class HeaderGuard:
    """Answers 400 where Serve would fail; Serve, which is not asked, gives no request id either.

    It turns off Serve's detection of disconnects for the routes that have their own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (name := _unreadable(scope)):
            problem = BadHeader(f"{name.title()} is not UTF-8: send text, or no such header")
            trace = Trace(secrets.token_hex(8), scope["method"], scope["path"])
            answer = respond(problem, trace)
            answer.headers["X-Request-Id"] = trace.request_id
            await answer(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"].endswith(OWN_DETECTION):
            scope["headers"] = [*scope["headers"], UNWATCHED]
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """What Serve asks for."""
    return [Middleware(HeaderGuard)]


def _unreadable(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name in DECODED_BY_SERVE:
            try:
                value.decode()
            except UnicodeDecodeError:
                return str(name, "ascii")
    return None
