"""Headers of every response."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class ResponseHeaders:
    """Middleware outside `RequestTracing`: adds the headers to every response of an application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                set_defaults(MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, send_with_headers)


def set_defaults(headers: MutableHeaders) -> None:
    """Browsers do not guess a media type, and nothing is cached unless the route allows it."""
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Cache-Control", "no-store")
