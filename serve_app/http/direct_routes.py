"""Calls the endpoints of the busiest routes directly, without FastAPI's layers.

FastAPI's router, dependency solver and exit stacks cost about 0.2 ms of CPU time per request, and
an endpoint that takes a `Request` and returns a `Response` does not need them. Such routes stay
declared on their `APIRouter`, for the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.errors import Problem
from serve_app.http.problems import problem_response, trace_of


class DirectRoutes:
    """Middleware inside `RequestTracing`: serves its routes, and passes on all other requests."""

    def __init__(self, app: ASGIApp, routes: Sequence[APIRoute]) -> None:
        """
        Args:
            routes: Matched in this order. Each endpoint takes a `Request`, returns a `Response`
                and raises only `Problem`.
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
                    response = problem_response(exc, trace_of(request))
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


def post_routes(routes: Iterable[BaseRoute]) -> list[APIRoute]:
    """The routes that accept POST."""
    return [
        route for route in routes if isinstance(route, APIRoute) and "POST" in (route.methods or ())
    ]
