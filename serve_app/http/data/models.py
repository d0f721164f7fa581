"""`/v1/models`: the versions of the registry, and the replicas that have them loaded."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field, NonNegativeInt

from models.card import Card, Faults, Input, Metrics, Parent
from serve_app.data_plane.card_cache import CardCache
from serve_app.data_plane.plane import DataPlane
from serve_app.data_plane.pools import Replica
from serve_app.errors import Problem
from serve_app.http import documentation
from serve_app.http.problems import json_response


class ModelResponse(BaseModel):
    version: str
    labels: list[str]
    input: Input
    metrics: list[Metrics]
    digest: str
    parent: Parent | None
    faults: Faults | None = Field(description="Of a test version; null for all others.")
    backend: str | None
    libraries: dict[str, str]
    assigned_replicas: NonNegativeInt
    warm_replicas: NonNegativeInt


class ModelsResponse(BaseModel):
    models: list[ModelResponse]
    rejected: dict[str, str] = Field(description="The error of each version.")


def router(plane: DataPlane) -> APIRouter:
    """The router of `/v1/models`."""
    routes = APIRouter(tags=["models"])

    @routes.get(
        "/v1/models",
        summary="List the versions of the registry",
        response_model=ModelsResponse,
        response_description="The versions",
    )
    async def list_models() -> Response:
        replicas = await plane.replicas()
        cards, rejected = await run_in_threadpool(_read_cards, plane.versions)
        models = [_model(card, replicas) for card in cards]
        return json_response({"models": models, "rejected": rejected})

    @routes.get(
        "/v1/models/{version}",
        summary="Describe one version",
        response_model=ModelResponse,
        response_description="The version",
        openapi_extra={
            "parameters": [
                {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
            ]
        },
        responses=documentation.problem_responses(404, 503),
    )
    async def describe_model(request: Request) -> Response:
        card = await run_in_threadpool(plane.versions.card, request.path_params["version"])
        return json_response(_model(card, await plane.replicas()))

    return routes


def _read_cards(versions: CardCache) -> tuple[list[Card], dict[str, str]]:
    """The cards of the registry, and the errors of the versions that have none, by name."""
    cards, rejected = [], {}
    for name in versions.names():
        try:
            cards.append(versions.card(name))
        except Problem as problem:  # list the other versions even if one is damaged
            rejected[name] = str(problem)
    return cards, rejected


def _model(card: Card, replicas: list[Replica]) -> dict[str, Any]:
    warm = [replica for replica in replicas if card.version in replica.warm]
    replica = next(iter(warm or replicas), None)
    return card.model_dump(mode="json", include=set(ModelResponse.model_fields)) | {
        "backend": replica.backend if replica else None,
        "libraries": replica.libraries if replica else {},
        "assigned_replicas": sum(each.version == card.version for each in replicas),
        "warm_replicas": len(warm),
    }
