"""Triton's routes for the model configuration, statistics and the repository index.

https://github.com/triton-inference-server/server/blob/main/docs/protocol
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, NonNegativeInt, StrictBool, ValidationError

from models.card import Card
from models.strict_json import parse_json
from models.validation import InvalidDocument, format_findings
from serve_app.data_plane.plane import DataPlane
from serve_app.errors import BadBody
from serve_app.http import documentation
from serve_app.http.body_limits import read_body
from serve_app.http.open_inference import tensors
from serve_app.http.open_inference.paths import (
    MODEL_PATHS,
    load_card,
    path_parameters,
    require_model,
)
from serve_app.http.open_inference.statistics import Statistics
from serve_app.http.problems import json_response

MAX_INDEX_BYTES = 16 * 2**10  # of the request
_INDEX_BODY = 'send {"ready": true}, or nothing'


class ConfiguredTensor(BaseModel):
    """A tensor; the dimensions follow that of the batch, and are -1 if they vary."""

    name: str
    data_type: str
    dims: list[int]


class ConfiguredInput(ConfiguredTensor):
    optional: Literal[True] = Field(description="A request has exactly one input.")


class TextParameter(BaseModel):
    string_value: str


class ConfigResponse(BaseModel):
    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[ConfiguredInput]
    output: list[ConfiguredTensor]
    parameters: dict[str, TextParameter]


class Duration(BaseModel):
    count: NonNegativeInt
    ns: NonNegativeInt


class VersionStatistics(BaseModel):
    """Of the requests to this ingress replica. What it does not measure is 0."""

    name: str
    version: str
    last_inference: NonNegativeInt = Field(description="Milliseconds since 1970 UTC.")
    inference_count: NonNegativeInt = Field(description="Images in successful requests.")
    execution_count: NonNegativeInt = Field(description="Not measured.")
    inference_stats: dict[str, Duration]
    batch_stats: Annotated[list[Any], Field(max_length=0, description="Not measured.")]


class StatisticsResponse(BaseModel):
    model_stats: list[VersionStatistics]


class IndexedVersion(BaseModel):
    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class IndexRequest(BaseModel):
    """Which versions to list."""

    ready: StrictBool | None = Field(None, description="Whether to list only those loaded.")


def add_extension_routes(
    routes: APIRouter, plane: DataPlane, model: str, statistics: Statistics
) -> None:
    """Add the routes; before those of the model, whose path has a variable for its name."""

    @routes.get(
        "/models/stats",
        summary="Statistics of all versions",
        response_model=StatisticsResponse,
        response_description="Statistics",
    )
    async def all_statistics() -> Response:
        return _describe_statistics(plane.versions.names())

    @routes.post(
        "/repository/index",
        summary="List the versions of the registry",
        response_model=list[IndexedVersion],
        response_description="The versions",
        openapi_extra={
            "requestBody": {
                "required": False,
                "content": {"application/json": {"schema": IndexRequest.model_json_schema()}},
            }
        },
        responses=documentation.problem_responses(400, 408, 413, 415, 503),
    )
    async def index(request: Request) -> Response:
        only_ready = _parse_index(await read_body(request, MAX_INDEX_BYTES))
        warm = {version for replica in await plane.replicas() for version in replica.warm}
        versions = [_indexed(model, name, name in warm) for name in plane.versions.names()]
        return json_response(
            [each for each in versions if each["state"] == "READY" or not only_ready]
        )

    for path in MODEL_PATHS:

        @routes.get(
            f"{path}/config",
            summary="Model configuration",
            response_model=ConfigResponse,
            response_description="The model configuration",
            responses=documentation.problem_responses(404, 503),
            openapi_extra={"parameters": path_parameters(path, model)},
        )
        async def config(request: Request) -> Response:
            require_model(request, model)
            return json_response(_configuration(model, await load_card(plane, request)))

        @routes.get(
            f"{path}/stats",
            summary="Model statistics",
            response_model=StatisticsResponse,
            response_description="Statistics",
            responses=documentation.problem_responses(404, 503),
            openapi_extra={"parameters": path_parameters(path, model)},
        )
        async def model_statistics(request: Request) -> Response:
            require_model(request, model)
            if "version" not in request.path_params:
                return _describe_statistics(plane.versions.names())
            return _describe_statistics([(await load_card(plane, request)).version])

    def _describe_statistics(versions: list[str] | tuple[str, ...]) -> Response:
        return json_response(
            {"model_stats": [statistics.describe(model, version) for version in versions]}
        )


def _parse_index(body: bytes) -> bool:
    """Whether to list only versions that are ready; the body may be empty."""
    try:
        return bool(IndexRequest.model_validate(parse_json(body or b"{}")).ready)
    except InvalidDocument as exc:
        raise BadBody(f"the body {exc}: {_INDEX_BODY}") from exc
    except ValidationError as exc:
        raise BadBody(f"{format_findings(exc, 'the body')}: {_INDEX_BODY}") from exc


def _indexed(model: str, version: str, is_loaded: bool) -> dict[str, str]:
    return {
        "name": model,
        "version": version,
        "state": "READY" if is_loaded else "UNAVAILABLE",
        "reason": "" if is_loaded else "no replica has it loaded",
    }


def _configuration(model: str, card: Card) -> dict[str, Any]:
    def tensor(name: str, data_type: str, dims: list[int]) -> dict[str, Any]:
        return {"name": name, "data_type": data_type, "dims": dims}

    return {
        "name": model,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": tensors.MAX_IMAGES,
        "input": [
            tensor(tensors.IMAGE, "TYPE_STRING", []) | {"optional": True},
            tensor(tensors.PIXELS, "TYPE_UINT8", [-1, -1, 3]) | {"optional": True},
        ],
        "output": [
            tensor(tensors.LABEL, "TYPE_STRING", []),
            tensor(tensors.PROBABILITIES, "TYPE_FP32", [len(card.labels)]),
        ],
        "parameters": {"labels": {"string_value": ",".join(card.labels)}},
    }
