"""`/v2`: the Open Inference Protocol, for its public clients."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from models.card import Card
from serve_app import __version__
from serve_app.data_plane.plane import DataPlane
from serve_app.errors import BadHeader, NoSuchModel, PinRejected
from serve_app.http import documentation, tensors
from serve_app.http.body_limits import read_body
from serve_app.http.disconnects import cancelled_on_disconnect
from serve_app.http.documentation import TEXT, fields
from serve_app.http.headers import read_context
from serve_app.http.problems import json_response, trace_of

EXTENSIONS = ["binary_tensor_data"]
QUICK_BYTES = 32_768  # of a body: read in a millisecond, also if all of it is numbers


def router(plane: DataPlane, model: str) -> APIRouter:
    """The routes; `model` is the name of the one model."""
    routes = APIRouter(prefix="/v2", tags=["inference"])

    @routes.get(
        "", summary="Server metadata", responses={200: documentation.answer("Metadata", _SERVER)}
    )
    async def server() -> Response:
        return json_response(
            {"name": "serve-app", "version": __version__, "extensions": EXTENSIONS}
        )

    @routes.get(
        "/health/live", summary="Alive", responses={200: documentation.answer("Alive", _LIVE)}
    )
    async def live() -> Response:
        return json_response({"live": True})

    @routes.get(
        "/health/ready",
        summary="Ready to answer",
        responses={
            200: documentation.answer("Ready", _READY),
            **documentation.problems(503),
        },
    )
    async def ready() -> Response:
        await plane.require_ready()
        return json_response({"ready": True})

    for path in ("/models/{model}", "/models/{model}/versions/{version}"):

        @routes.get(
            path,
            summary="Model metadata",
            responses={
                200: documentation.answer("Metadata", _MODEL),
                **documentation.problems(404, 503),
            },
            openapi_extra={"parameters": _path_parameters(path, model)},
        )
        async def metadata(request: Request) -> Response:
            require_model(request)
            return json_response(
                _metadata(model, plane.versions.names(), await _card(plane, request))
            )

        @routes.get(
            f"{path}/ready",
            summary="Model ready",
            responses={
                200: documentation.answer("Ready", _MODEL_READY),
                **documentation.problems(404, 503),
            },
            openapi_extra={"parameters": _path_parameters(path, model)},
        )
        async def model_ready(request: Request) -> Response:
            require_model(request)
            await _card(plane, request)
            await plane.require_ready()
            return json_response({"name": model, "ready": True})

        @routes.post(
            f"{path}/infer",
            summary="Classify up to 64 images",
            openapi_extra={
                "parameters": [*_path_parameters(path, model), *documentation.CONTEXT_HEADERS],
                "requestBody": {"required": True, "content": _INFER},
            },
            responses={
                200: _ANSWER,
                **documentation.problems(400, 403, 404, 408, 413, 415, 422, 429, 503, 504),
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
                    f"X-Model-Version is {headers['x-model-version'][:50]} and the path says"
                    f" {version[:50]}: leave one of them out"
                )
            rule = plane.rule
            if version and not rule.trust_headers:
                raise PinRejected(
                    f"the path is pinned to {version[:50]}, and the rule in force obeys no pins"
                    f" (trust_headers: false): use /v2/models/{model}/infer"
                )
            context = read_context(
                headers, trace.request_id, plane.pseudonymizer, trusted=rule.trust_headers
            )
            plane.check_pin(context)
            with plane.admission():
                body = await read_body(request)
                inference = await _understood(body, headers.get(tensors.HEADER_LENGTH.lower()))
                async with cancelled_on_disconnect(request.receive):
                    prediction = await plane.classify(
                        inference.images, context, trace, request.scope["started"]
                    )
            answer = prediction.answer
            content, head = tensors.write(
                inference,
                model,
                answer.version if prediction.rule.reveal_version else None,
                answer.labels,
                answer.probabilities,
                {
                    "labels": ",".join(answer.labels),
                    "prediction_ids": ",".join(prediction.prediction_ids),
                    "reason": prediction.plan.reason.value,
                    "rule": prediction.rule.kind,
                    "rule_id": prediction.rule.rule_id,
                },
            )
            if head is None:
                return Response(content, media_type="application/json")
            return Response(
                content,
                headers={tensors.HEADER_LENGTH: str(head)},
                media_type="application/octet-stream",
            )

    def require_model(request: Request) -> None:
        name = request.path_params["model"]
        if name != model:
            raise NoSuchModel(f"there is no model '{name[:50]}': the one here is '{model}'")

    return routes


async def _understood(body: bytes, header_length: str | None) -> tensors.Inference:
    if len(body) <= QUICK_BYTES:
        return tensors.read(body, header_length)
    return await run_in_threadpool(tensors.read, body, header_length)


async def _card(plane: DataPlane, request: Request) -> Card:
    version = request.path_params.get("version")
    if version is None:
        version = plane.rule.versions[next(iter(plane.rule.versions))]
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
            "pixels": "send one input: `image`, or `pixels` as UINT8 or as FP32 in 0 to 255; a"
            " image of FP32 whose largest value is at most 1 is read as 0 to 1",
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


_SHAPE = {"type": "array", "items": {"type": "integer"}}
_TENSOR = fields(name=TEXT, datatype=TEXT, shape=_SHAPE)
_LIVE = fields(live={"type": "boolean"})
_READY = fields(ready={"type": "boolean"})
_MODEL_READY = fields(name=TEXT, ready={"type": "boolean"})
_SERVER = fields(name=TEXT, version=TEXT, extensions={"type": "array", "items": TEXT})
_MODEL = fields(
    name=TEXT,
    versions={"type": "array", "items": TEXT},
    platform=TEXT,
    inputs={"type": "array", "items": _TENSOR},
    outputs={"type": "array", "items": _TENSOR},
)
_INFER: dict[str, Any] = {
    "application/json": {
        "schema": {
            "type": "object",
            "properties": {
                "id": TEXT,
                "inputs": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 1,
                    "items": {
                        "type": "object",
                        "properties": {
                            "name": {"enum": [tensors.IMAGE, tensors.PIXELS]},
                            "datatype": {"enum": ["BYTES", "UINT8", "FP32"]},
                            "shape": _SHAPE,
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
    },
    "application/octet-stream": {
        "schema": {"type": "string", "description": "JSON, then binary tensors."}
    },
}
_INFERRED = {
    "type": "object",
    "properties": {
        "model_name": TEXT,
        "model_version": TEXT,
        "id": TEXT,
        "parameters": {"type": "object"},
        "outputs": {"type": "array", "items": _TENSOR},
    },
    "required": ["model_name", "outputs"],
}
_ANSWER = documentation.answer("The answer; binary where the request asks for it", _INFERRED)
_ANSWER["content"]["application/octet-stream"] = {
    "schema": {"type": "string", "description": "JSON, then the binary outputs in their order."}
}
_ANSWER["headers"] = {
    tensors.HEADER_LENGTH: {
        "description": "The length of the JSON where binary outputs follow it.",
        "schema": {"type": "integer"},
    }
}
