"""Paths of the routes of a model, and what they name."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from models.card import Card
from serve_app.data_plane.plane import DataPlane
from serve_app.errors import NoSuchModel

MODEL_PATHS = ("/models/{model}", "/models/{model}/versions/{version}")


def require_model(request: Request, model: str) -> None:
    """Check that the path names the only model.

    Raises:
        NoSuchModel: It names another one.
    """
    name = request.path_params["model"]
    if name != model:
        raise NoSuchModel(f"there is no model '{name[:50]}': use the model '{model}'")


async def load_card(plane: DataPlane, request: Request) -> Card:
    """The card of the version in the path, or of the stable version.

    Raises:
        NoSuchVersion, NotReady: See `CardCache.card`.
    """
    version = request.path_params.get("version") or plane.rule.stable
    return await run_in_threadpool(plane.versions.card, version)


def path_parameters(path: str, model: str) -> list[dict[str, Any]]:
    """The OpenAPI description of the variables in a path."""
    schemas: dict[str, dict[str, Any]] = {
        "model": {"enum": [model]},
        "version": {"pattern": "^v[0-9]+$"},
    }
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", **schema}}
        for name, schema in schemas.items()
        if f"{{{name}}}" in path
    ]
