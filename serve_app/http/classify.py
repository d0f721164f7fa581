"""`POST /v1/classify`: one image, one answer."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response

from serve_app.data_plane.images import EncodedImage
from serve_app.data_plane.plane import ClassifyResult, DataPlane
from serve_app.http import documentation
from serve_app.http.body_limits import FORM_FIELD, FORM_TYPE, IMAGE_TYPES, read_image
from serve_app.http.disconnects import cancelled_on_disconnect
from serve_app.http.headers import read_context
from serve_app.http.problems import trace_of


def router(plane: DataPlane) -> APIRouter:
    """The route."""
    routes = APIRouter(tags=["classify"])

    @routes.post(
        "/v1/classify",
        summary="Classify an image",
        openapi_extra={
            "parameters": documentation.CONTEXT_HEADERS,
            "requestBody": {"required": True, "content": _CONTENT},
        },
        responses={
            200: documentation.answer("The answer", _ANSWER, headers=documentation.ANSWER_HEADERS),
            **documentation.problems(400, 403, 404, 408, 413, 415, 422, 429, 503, 504),
        },
        response_class=Response,
    )
    async def classify(request: Request) -> Response:
        trace = trace_of(request)
        context = read_context(
            request.headers, trace.request_id, plane.pseudonymizer, trusted=plane.rule.trust_headers
        )
        plane.check_pin(context)
        with plane.admission():
            image = await read_image(request)
            async with cancelled_on_disconnect(request.receive):
                prediction = await plane.classify(
                    [EncodedImage(image)], context, trace, request.scope["started"]
                )
        return _response(prediction)

    return routes


def _response(prediction: ClassifyResult) -> Response:
    answer, rule = prediction.answer, prediction.rule
    shares = answer.probabilities[0].tolist()
    best = shares.index(max(shares))
    (prediction_id,) = prediction.prediction_ids
    reason = prediction.plan.reason.value
    content: dict[str, Any] = {
        "prediction_id": prediction_id,
        "label": answer.labels[best],
        "confidence": shares[best],
        "probabilities": dict(zip(answer.labels, shares, strict=True)),
    }
    headers = {"X-Prediction-Id": prediction_id}
    if rule.reveal_version:
        content["version"] = answer.version
        headers["X-Served-Version"] = answer.version
    content |= {
        "rule": rule.kind,
        "reason": reason,
        "rule_id": rule.rule_id,
        "latency_ms": round(prediction.latency_ms, 2),
    }
    headers["X-Assignment-Reason"] = reason
    return Response(json.dumps(content), headers=headers, media_type="application/json")


_IMAGE = {"type": "string", "contentMediaType": "application/octet-stream"}
_CONTENT: dict[str, Any] = {media_type: {"schema": _IMAGE} for media_type in IMAGE_TYPES} | {
    FORM_TYPE: {
        "schema": {
            "type": "object",
            "properties": {FORM_FIELD: _IMAGE},
            "required": [FORM_FIELD],
        }
    }
}
_ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "prediction_id": {"type": "string", "description": "Names this answer in feedback."},
        "label": {"type": "string"},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "probabilities": {
            "type": "object",
            "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1},
            "description": "Of the version's own labels; they sum to 1.",
        },
        "version": {"type": "string", "description": "Left out where `reveal_version` is false."},
        "rule": {"type": "string"},
        "reason": {"type": "string", "enum": documentation.REASONS},
        "rule_id": {"type": "string", "pattern": "^[0-9a-f]{8}$"},
        "latency_ms": {"type": "number", "minimum": 0},
    },
    "required": [
        "prediction_id",
        "label",
        "confidence",
        "probabilities",
        "rule",
        "reason",
        "rule_id",
        "latency_ms",
    ],
    "additionalProperties": False,
}
