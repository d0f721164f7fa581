"""`/v2`: the Open Inference Protocol."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from models.card import Card
from serve_app import __version__
from serve_app.data_plane.plane import DataPlane
from serve_app.errors import BadHeader, PinRejected
from serve_app.http import documentation
from serve_app.http.body_limits import read_body
from serve_app.http.disconnects import cancel_on_disconnect
from serve_app.http.documentation import Absent
from serve_app.http.headers import read_context
from serve_app.http.large_bodies import process
from serve_app.http.open_inference import tensors
from serve_app.http.open_inference.extensions import add_extension_routes
from serve_app.http.open_inference.paths import (
    MODEL_PATHS,
    load_card,
    path_parameters,
    require_model,
)
from serve_app.http.open_inference.statistics import Statistics
from serve_app.http.problems import json_response, trace_of

EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "statistics"]


class ServerResponse(BaseModel):
    name: str
    version: str
    extensions: list[str]


class LiveResponse(BaseModel):
    live: bool


class ReadyResponse(BaseModel):
    ready: bool


class ModelReadyResponse(ReadyResponse):
    name: str


class TensorMetadata(BaseModel):
    """A tensor without its data; a dimension of the shape is -1 if it varies."""

    name: str
    datatype: str
    shape: list[int]


class MetadataResponse(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: dict[str, str]


class OutputTensor(TensorMetadata):
    """An output of an inference."""

    data: list[Any] | Absent = Field(None, description="Absent if the output is binary.")
    parameters: dict[str, Any] | Absent = Field(None, description="Of a binary output: its size.")


class InferResponse(BaseModel):
    model_name: str
    model_version: str | Absent = Field(None, description="Absent if `reveal_version` is false.")
    id: str | Absent = Field(None, description="As in the request.")
    parameters: dict[str, str]
    outputs: list[OutputTensor]


def router(plane: DataPlane, model: str) -> APIRouter:
    """The router of `/v2`; `model` is the name of the only model."""
    routes = APIRouter(prefix="/v2", tags=["inference"])
    statistics = Statistics()
    add_extension_routes(routes, plane, model, statistics)

    @routes.get(
        "",
        summary="Server metadata",
        response_model=ServerResponse,
        response_description="Server metadata",
    )
    async def server() -> Response:
        return json_response(
            {"name": "serve-app", "version": __version__, "extensions": EXTENSIONS}
        )

    @routes.get(
        "/health/live",
        summary="Server liveness",
        response_model=LiveResponse,
        response_description="The server is alive",
    )
    async def live() -> Response:
        return json_response({"live": True})

    @routes.get(
        "/health/ready",
        summary="Server readiness",
        response_model=ReadyResponse,
        response_description="The server is ready",
        responses=documentation.problem_responses(503),
    )
    async def ready() -> Response:
        await plane.require_ready()
        return json_response({"ready": True})

    for path in MODEL_PATHS:

        @routes.get(
            path,
            summary="Model metadata",
            response_model=MetadataResponse,
            response_description="Model metadata",
            responses=documentation.problem_responses(404, 503),
            openapi_extra={"parameters": path_parameters(path, model)},
        )
        async def metadata(request: Request) -> Response:
            require_model(request, model)
            return json_response(
                _metadata(model, plane.versions.names(), await load_card(plane, request))
            )

        @routes.get(
            f"{path}/ready",
            summary="Model readiness",
            response_model=ModelReadyResponse,
            response_description="The model is ready",
            responses=documentation.problem_responses(404, 503),
            openapi_extra={"parameters": path_parameters(path, model)},
        )
        async def model_ready(request: Request) -> Response:
            require_model(request, model)
            await load_card(plane, request)
            await plane.require_ready()
            return json_response({"name": model, "ready": True})

        @routes.post(
            f"{path}/infer",
            summary="Classify up to 64 images",
            openapi_extra={
                "parameters": [*path_parameters(path, model), *documentation.CONTEXT_HEADERS],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": _REQUEST}} | _BINARY_CONTENT,
                },
            },
            response_model=InferResponse,
            response_description="The predictions; binary outputs if the request asks for them",
            responses={
                200: {"content": _BINARY_CONTENT, "headers": _LENGTH_HEADER},
                **documentation.problem_responses(400, 403, 404, 408, 413, 415, 422, 429, 503, 504),
            },
        )
        async def infer(request: Request) -> Response:
            require_model(request, model)
            trace = trace_of(request)
            rule, version = plane.rule, request.path_params.get("version")
            if version and not rule.trust_headers:
                raise PinRejected(
                    f"the path pins version {version[:50]}, and the rule in force ignores pins"
                    f" (trust_headers: false): use /v2/models/{model}/infer"
                )
            context = read_context(
                request.headers,
                trace.request_id,
                plane.pseudonymizer,
                trust_headers=rule.trust_headers,
            )
            if version and context.pin not in (None, version):
                raise BadHeader(
                    f"X-Model-Version is {context.pin[:50]}, and the path has version"
                    f" {version[:50]}: send only one of them"
                )
            context = replace(context, pin=version or context.pin)
            plane.check_pin(context)
            with plane.admission():
                body = await read_body(request)
                inference_request = await process(
                    len(body),
                    tensors.parse_request,
                    body,
                    request.headers.get(tensors.HEADER_LENGTH),
                )
                images, started = inference_request.images, request.scope["started"]
                try:
                    async with cancel_on_disconnect(request.receive):
                        result = await plane.classify(images, context, trace, started)
                except BaseException:
                    statistics.record_failure(
                        trace.assigned or rule.stable, 1000 * (time.perf_counter() - started)
                    )
                    raise
            prediction = result.prediction
            statistics.record_success(
                prediction.version, len(images), result.latency_ms, prediction.model_ms
            )
            content, json_length = tensors.encode_response(
                inference_request,
                model,
                prediction.version if result.rule.reveal_version else None,
                prediction.labels,
                prediction.probabilities,
                {
                    "labels": ",".join(prediction.labels),
                    "prediction_ids": ",".join(result.prediction_ids),
                    "reason": result.plan.reason.value,
                    "rule": result.rule.kind,
                    "rule_id": result.rule.rule_id,
                },
            )
            if json_length is None:
                return Response(content, media_type="application/json")
            return Response(
                content,
                headers={tensors.HEADER_LENGTH: str(json_length)},
                media_type="application/octet-stream",
            )

    return routes


def _metadata(model: str, versions: tuple[str, ...], card: Card) -> dict[str, Any]:
    return {
        "name": model,
        "versions": versions,
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": tensors.IMAGE, "datatype": "BYTES", "shape": [-1]},
            {"name": tensors.PIXELS, "datatype": "UINT8", "shape": [-1, -1, -1, 3]},
        ],
        "outputs": [
            {"name": tensors.LABEL, "datatype": "BYTES", "shape": [-1]},
            {"name": tensors.PROBABILITIES, "datatype": "FP32", "shape": [-1, -1]},
        ],
        "parameters": {
            "labels": ",".join(card.labels),
            "pixels": "send one input: `image`, or `pixels` as UINT8 or as FP32 in 0 to 255; an"
            " FP32 image whose largest value is at most 1 is read as 0 to 1",
        },
    }


_REQUEST = {
    "type": "object",
    "properties": {
        "id": {"type": ["string", "null"]},
        "inputs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "name": {"enum": [tensors.IMAGE, tensors.PIXELS]},
                    "datatype": {"enum": ["BYTES", "UINT8", "FP32"]},
                    "shape": {"type": "array", "items": {"type": "integer"}},
                    "data": {"type": ["array", "null"]},
                    "parameters": {"type": ["object", "null"]},
                },
                "required": ["name", "datatype", "shape"],
            },
        },
        "outputs": {
            "type": ["array", "null"],
            "items": {
                "type": "object",
                "properties": {
                    "name": {"enum": list(tensors.OUTPUTS)},
                    "parameters": {
                        "type": ["object", "null"],
                        "properties": {
                            "binary_data": {"type": ["boolean", "null"]},
                            "classification": {
                                "type": ["integer", "null"],
                                "minimum": 0,
                                "description": "Of `probabilities`: this many of the most probable"
                                " labels, as texts value:index:label; 0 as if left out.",
                            },
                        },
                    },
                },
                "required": ["name"],
            },
        },
        "parameters": {"type": ["object", "null"]},
    },
    "required": ["inputs"],
}
_BINARY_CONTENT: dict[str, Any] = {
    "application/octet-stream": {
        "schema": {"type": "string", "description": "JSON, then binary tensors in its order."}
    }
}
_LENGTH_HEADER = {
    tensors.HEADER_LENGTH: {
        "description": "The length of the JSON in bytes, if binary outputs follow it.",
        "schema": {"type": "integer"},
    }
}
