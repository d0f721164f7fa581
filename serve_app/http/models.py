"""`/v1/models`: the versions of the registry, and which replicas hold them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from models.card import Card
from serve_app.data_plane.plane import DataPlane
from serve_app.data_plane.pools import Replica
from serve_app.errors import Problem
from serve_app.http import documentation
from serve_app.http.documentation import TEXT, fields
from serve_app.http.problems import json_response

_ANY = {"type": "object"}
_LIST = {"type": "array"}


def router(plane: DataPlane) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["models"])

    @routes.get(
        "/v1/models",
        summary="The versions of the registry",
        responses={200: documentation.answer("The versions", _MODELS)},
    )
    async def models() -> Response:
        replicas = await plane.pools.replicas()
        models, rejected = [], {}
        for name in plane.versions.names():
            try:
                card = await run_in_threadpool(plane.versions.card, name)
            except Problem as problem:  # a damaged version hides no other
                rejected[name] = str(problem)
            else:
                models.append(_model(card, replicas))
        return json_response({"models": models, "rejected": rejected})

    @routes.get(
        "/v1/models/{version}",
        summary="One version",
        openapi_extra={
            "parameters": [{"name": "version", "in": "path", "required": True, "schema": TEXT}]
        },
        responses={
            200: documentation.answer("The version", _MODEL),
            **documentation.problems(404, 503),
        },
    )
    async def model(request: Request) -> Response:
        card = await run_in_threadpool(plane.versions.card, request.path_params["version"])
        return json_response(_model(card, await plane.pools.replicas()))

    return routes


def _model(card: Card, replicas: list[Replica]) -> dict[str, Any]:
    holding = [replica for replica in replicas if card.version in replica.warm]
    some = next(iter(holding or replicas), None)
    return {
        "version": card.version,
        "labels": card.labels,
        "input": card.input.model_dump(mode="json"),
        "metrics": [metrics.model_dump(mode="json") for metrics in card.metrics],
        "digest": card.digest,
        "parent": card.parent.model_dump(mode="json") if card.parent else None,
        "backend": some.backend if some else None,
        "libraries": some.libraries if some else {},
        "assigned_replicas": sum(replica.version == card.version for replica in replicas),
        "warm_replicas": len(holding),
    }


_MODEL = fields(
    version=TEXT,
    labels=_LIST,
    input=_ANY,
    metrics=_LIST,
    digest=TEXT,
    parent={"type": ["object", "null"]},
    backend={"type": ["string", "null"]},
    libraries=_ANY,
    assigned_replicas={"type": "integer", "minimum": 0},
    warm_replicas={"type": "integer", "minimum": 0},
)
_MODELS = fields(
    models={"type": "array", "items": _MODEL},
    rejected={"type": "object", "additionalProperties": TEXT, "description": "Why, by version."},
)
