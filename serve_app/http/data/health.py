"""`/healthz` (the process is alive) and `/readyz` (the service can classify)."""

from __future__ import annotations

from fastapi import APIRouter, Response

from serve_app.data_plane.plane import DataPlane
from serve_app.http import documentation
from serve_app.http.problems import json_response


def router(plane: DataPlane) -> APIRouter:
    """The router of the health checks."""
    routes = APIRouter(tags=["health"])

    @routes.get(
        "/healthz",
        summary="Liveness",
        response_model=dict[str, str],
        response_description="The process is alive",
    )
    async def healthz() -> Response:
        return json_response({"status": "alive"})

    @routes.get(
        "/readyz",
        summary="Readiness: a rule is in force and its pools have replicas",
        response_model=dict[str, str],
        response_description="The service is ready",
        responses=documentation.problem_responses(503),
    )
    async def readyz() -> Response:
        await plane.require_ready()
        return json_response({"status": "ready"})

    return routes
