"""The busiest routes, called without FastAPI's layers.

FastAPI's router, dependency solver and exit stacks cost about 0.2 ms of CPU time a request, and do
nothing for an endpoint that takes a `Request` and returns a `Response`. Such routes stay declared
on their `APIRouter`, for the OpenAPI document; this middleware calls their endpoints itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.errors import Problem
from serve_app.http.problems import respond, trace_of


class DirectRoutes:
    """Middleware inside `RequestTracing`: serves some routes itself, passes on all others."""

    def __init__(self, app: ASGIApp, routes: Sequence[APIRoute]) -> None:
        """Route the application's requests.

        Args:
            routes: Tried in this order. Each endpoint takes a `Request`, returns a `Response` and
                raises no errors but `Problem`.
        """
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for route in self._routes:
            match, matched = route.matches(scope)
            if match is Match.FULL:
                scope.update(matched)
                request = Request(scope, receive, send)
                try:
                    response = await route.endpoint(request)
                except Problem as exc:
                    response = respond(exc, trace_of(request))
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


def posts(routes: Iterable[BaseRoute]) -> list[APIRoute]:
    """Those of some routes that take POST."""
    return [
        route for route in routes if isinstance(route, APIRoute) and "POST" in (route.methods or ())
    ]
