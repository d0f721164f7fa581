"""`GET /`: what this service is, with links, and a form to try an image."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from serve_app.http.pages import page
from serve_app.http.problems import json_response

_CONTENT = {
    "name": "serve-app",
    "links": {
        "documentation": "docs",
        "openapi": "openapi.json",
        "console": "control/",
        "rule": "v1/rule",
        "models": "v1/models",
        "health": "healthz",
        "readiness": "readyz",
    },
}


def router() -> APIRouter:
    """The router of `/`, which is no part of the OpenAPI document."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def home_page(request: Request) -> Response:
        accepted = request.headers.get("accept", "")
        wants_json = "application/json" in accepted and "text/html" not in accepted
        response: Response = json_response(_CONTENT) if wants_json else page("home.html")
        response.headers["Vary"] = "Accept"
        return response

    return routes
