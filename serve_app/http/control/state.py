"""The routes that show the state of the service."""

from __future__ import annotations

from fastapi import APIRouter, Response

from serve_app.http import documentation
from serve_app.http.control.parameters import Limit, RevisionNumber, Since
from serve_app.http.control.service import ControlService, ReadService
from serve_app.http.problems import json_response


def router(control: ControlService, reads: ReadService) -> APIRouter:
    """The router of `/status`, `/overview`, `/deployment`, `/revisions` and `/audit`."""
    errors = documentation.problem_responses(401, 403, 422, 429, 503, 504)
    routes = APIRouter(tags=["state"], responses=errors)

    @routes.get(
        "/status", summary="Show whether the configuration is in force, and what is lacking"
    )
    async def get_status() -> Response:
        return json_response(await control.status())

    @routes.get("/overview", summary="Show the state and the traffic of each version at a glance")
    async def get_overview(since: Since = "1h") -> Response:
        return json_response({"status": await control.status(), **await reads.overview(since)})

    @routes.get("/deployment", summary="Show the deployed configuration")
    async def get_deployment() -> Response:
        return json_response(await control.deployment())

    @routes.get("/revisions", summary="List the revisions, newest first")
    async def list_revisions(limit: Limit = 50) -> Response:
        return json_response({"revisions": await control.revisions(limit)})

    @routes.get(
        "/revisions/{number}",
        summary="Show a revision with its configuration",
        responses=documentation.problem_responses(404),
    )
    async def get_revision(number: RevisionNumber) -> Response:
        return json_response(await control.revision(number))

    @routes.get("/audit", summary="List the changes, newest first")
    async def list_audit(limit: Limit = 50) -> Response:
        return json_response({"audit": await control.audit(limit)})

    return routes
