"""`/v1/models`: the versions of the registry, and the replicas that have them loaded."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from models.card import Card
from serve_app.data_plane.plane import DataPlane
from serve_app.data_plane.pools import Replica
from serve_app.errors import Problem
from serve_app.http import documentation
from serve_app.http.documentation import ARRAY, OBJECT, STRING, object_schema
from serve_app.http.problems import json_response


def router(plane: DataPlane) -> APIRouter:
    """The router of `/v1/models`."""
    routes = APIRouter(tags=["models"])

    @routes.get(
        "/v1/models",
        summary="List the versions of the registry",
        responses={200: documentation.response("The versions", _MODELS)},
    )
    async def list_models() -> Response:
        replicas = await plane.pools.replicas()
        models, rejected = [], {}
        for name in plane.versions.names():
            try:
                card = await run_in_threadpool(plane.versions.card, name)
            except Problem as problem:  # list the other versions even if one is damaged
                rejected[name] = str(problem)
            else:
                models.append(_model(card, replicas))
        return json_response({"models": models, "rejected": rejected})

    @routes.get(
        "/v1/models/{version}",
        summary="Describe one version",
        openapi_extra={
            "parameters": [{"name": "version", "in": "path", "required": True, "schema": STRING}]
        },
        responses={
            200: documentation.response("The version", _MODEL),
            **documentation.problem_responses(404, 503),
        },
    )
    async def describe_model(request: Request) -> Response:
        card = await run_in_threadpool(plane.versions.card, request.path_params["version"])
        return json_response(_model(card, await plane.pools.replicas()))

    return routes


def _model(card: Card, replicas: list[Replica]) -> dict[str, Any]:
    warm = [replica for replica in replicas if card.version in replica.warm]
    replica = next(iter(warm or replicas), None)
    return {
        "version": card.version,
        "labels": card.labels,
        "input": card.input.model_dump(mode="json"),
        "metrics": [metrics.model_dump(mode="json") for metrics in card.metrics],
        "digest": card.digest,
        "parent": card.parent.model_dump(mode="json") if card.parent else None,
        "backend": replica.backend if replica else None,
        "libraries": replica.libraries if replica else {},
        "assigned_replicas": sum(each.version == card.version for each in replicas),
        "warm_replicas": len(warm),
    }


_MODEL = object_schema(
    version=STRING,
    labels=ARRAY,
    input=OBJECT,
    metrics=ARRAY,
    digest=STRING,
    parent={"type": ["object", "null"]},
    backend={"type": ["string", "null"]},
    libraries=OBJECT,
    assigned_replicas={"type": "integer", "minimum": 0},
    warm_replicas={"type": "integer", "minimum": 0},
)
_MODELS = object_schema(
    models={"type": "array", "items": _MODEL},
    rejected={
        "type": "object",
        "additionalProperties": STRING,
        "description": "The error of each version.",
    },
)
