"""`/v2`: the Open Inference Protocol."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from models.card import Card
from serve_app import __version__
from serve_app.data_plane.plane import DataPlane
from serve_app.errors import BadHeader, NoSuchModel, PinRejected
from serve_app.http import documentation
from serve_app.http.body_limits import read_body
from serve_app.http.disconnects import cancel_on_disconnect
from serve_app.http.documentation import Absent
from serve_app.http.headers import read_context
from serve_app.http.open_inference import tensors
from serve_app.http.problems import json_response, trace_of

EXTENSIONS = ["binary_tensor_data"]
MAX_INLINE_BYTES = 32_768  # parsed in at most a millisecond; a larger body goes to a thread


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

    for path in ("/models/{model}", "/models/{model}/versions/{version}"):

        @routes.get(
            path,
            summary="Model metadata",
            response_model=MetadataResponse,
            response_description="Model metadata",
            responses=documentation.problem_responses(404, 503),
            openapi_extra={"parameters": _path_parameters(path, model)},
        )
        async def metadata(request: Request) -> Response:
            require_model(request)
            return json_response(
                _metadata(model, plane.versions.names(), await _load_card(plane, request))
            )

        @routes.get(
            f"{path}/ready",
            summary="Model readiness",
            response_model=ModelReadyResponse,
            response_description="The model is ready",
            responses=documentation.problem_responses(404, 503),
            openapi_extra={"parameters": _path_parameters(path, model)},
        )
        async def model_ready(request: Request) -> Response:
            require_model(request)
            await _load_card(plane, request)
            await plane.require_ready()
            return json_response({"name": model, "ready": True})

        @routes.post(
            f"{path}/infer",
            summary="Classify up to 64 images",
            openapi_extra={
                "parameters": [*_path_parameters(path, model), *documentation.CONTEXT_HEADERS],
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
            require_model(request)
            trace = trace_of(request)
            headers = dict(request.headers)
            version = request.path_params.get("version")
            headers["x-model-version"] = headers.get("x-model-version") or version or ""
            if version and headers["x-model-version"] != version:
                raise BadHeader(
                    f"X-Model-Version is {headers['x-model-version'][:50]}, and the path has"
                    f" version {version[:50]}: send only one of them"
                )
            rule = plane.rule
            if version and not rule.trust_headers:
                raise PinRejected(
                    f"the path pins version {version[:50]}, and the rule in force ignores pins"
                    f" (trust_headers: false): use /v2/models/{model}/infer"
                )
            context = read_context(
                headers, trace.request_id, plane.pseudonymizer, trust_headers=rule.trust_headers
            )
            plane.check_pin(context)
            with plane.admission():
                body = await read_body(request)
                inference_request = await _parse(body, headers.get(tensors.HEADER_LENGTH.lower()))
                async with cancel_on_disconnect(request.receive):
                    result = await plane.classify(
                        inference_request.images, context, trace, request.scope["started"]
                    )
            prediction = result.prediction
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

    def require_model(request: Request) -> None:
        name = request.path_params["model"]
        if name != model:
            raise NoSuchModel(f"there is no model '{name[:50]}': use the model '{model}'")

    return routes


async def _parse(body: bytes, header_length: str | None) -> tensors.InferenceRequest:
    if len(body) <= MAX_INLINE_BYTES:
        return tensors.parse_request(body, header_length)
    return await run_in_threadpool(tensors.parse_request, body, header_length)


async def _load_card(plane: DataPlane, request: Request) -> Card:
    version = request.path_params.get("version") or plane.rule.stable
    return await run_in_threadpool(plane.versions.card, version)


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


def _path_parameters(path: str, model: str) -> list[dict[str, Any]]:
    schemas: dict[str, dict[str, Any]] = {
        "model": {"enum": [model]},
        "version": {"pattern": "^v[0-9]+$"},
    }
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", **schema}}
        for name, schema in schemas.items()
        if f"{{{name}}}" in path
    ]


_REQUEST = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
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
                    "data": {"type": "array"},
                    "parameters": {"type": "object"},
                },
                "required": ["name", "datatype", "shape"],
            },
        },
        "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        "parameters": {"type": "object"},
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
