"""The methods of a path: HEAD wherever GET is answered, OPTIONS, and a complete `Allow`."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ROUTED_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


class PathMethods:
    """Middleware inside `RequestTracing`: responds to HEAD as to GET, without the body, and to
    OPTIONS with the methods of the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope.get("method")
        if method == "HEAD":
            await self._respond_without_body(scope, receive, send)
        elif method == "OPTIONS" and (allowed := allowed_methods(scope, scope["path"])):
            await Response(status_code=204, headers={"Allow": allowed})(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _respond_without_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without_body(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
            elif not message.get("more_body"):
                await send({"type": "http.response.body"})

        # A copy: the server reads the method of its own scope while it sends.
        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, send_without_body)
        finally:
            scope["route"] = as_get.get("route")


def allowed_methods(scope: Scope, path: str) -> str:
    """The value of `Allow` for a path: the methods of all routes that match it, with HEAD and
    OPTIONS; empty if none does."""
    request = {
        "type": "http",
        "path": path,
        "root_path": scope.get("root_path", ""),
        "headers": [],
    }
    routed = {
        method
        for method in ROUTED_METHODS
        for route in scope["app"].routes
        if route.matches({**request, "method": method})[0] is Match.FULL
    }
    answered = {"OPTIONS", "HEAD"} if "GET" in routed else {"OPTIONS"}
    return ", ".join(sorted(routed | answered)) if routed else ""


def other_slash(scope: Scope) -> str | None:
    """The path with a slash added to its end or removed, if only that one has a route."""
    path = scope["path"]
    other = path.rstrip("/") if path.endswith("/") else f"{path}/"
    return other if allowed_methods(scope, other) and not allowed_methods(scope, path) else None
