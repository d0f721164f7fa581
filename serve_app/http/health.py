"""`/healthz` and `/readyz`: is the process alive, can it answer?"""

from __future__ import annotations

from fastapi import APIRouter, Response

from serve_app.data_plane.plane import DataPlane
from serve_app.http import documentation
from serve_app.http.problems import json_response

_ANY = {"type": "object"}


def router(plane: DataPlane) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["health"])

    @routes.get(
        "/healthz",
        summary="Alive",
        responses={200: documentation.answer("Alive", _ANY)},
    )
    async def healthz() -> Response:
        return json_response({"status": "alive"})

    @routes.get(
        "/readyz",
        summary="Ready: a rule is in force and its pools have replicas",
        responses={
            200: documentation.answer("Ready", _ANY),
            **documentation.problems(503),
        },
    )
    async def readyz() -> Response:
        await plane.require_ready()
        return json_response({"status": "ready"})

    return routes
