"""`POST /v1/classify`: classifies one image."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat

from models.card import Share
from serve_app.data_plane.images import EncodedImage
from serve_app.data_plane.plane import ClassifyResult, DataPlane
from serve_app.http import documentation
from serve_app.http.disconnects import cancel_on_disconnect
from serve_app.http.forms import FORM_TYPE
from serve_app.http.headers import read_context
from serve_app.http.image_bodies import BINARY_TYPE, FORM_FIELD, IMAGE_TYPES, read_image
from serve_app.http.problems import trace_of
from serve_app.rules.plan import Reason


class ClassifyResponse(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prediction_id: str = Field(description="Send it with feedback.")
    label: str
    confidence: Share
    probabilities: dict[str, Share] = Field(
        description="For each label of the version; the sum is 1."
    )
    version: str | documentation.Absent = Field(
        None, description="Absent if `reveal_version` is false."
    )
    rule: str
    reason: Reason
    rule_id: documentation.RuleId
    latency_ms: NonNegativeFloat


def router(plane: DataPlane) -> APIRouter:
    """The router of `/v1/classify`."""
    routes = APIRouter(tags=["classify"])

    @routes.post(
        "/v1/classify",
        summary="Classify an image",
        openapi_extra={
            "parameters": documentation.CONTEXT_HEADERS,
            "requestBody": {"required": True, "content": _CONTENT},
        },
        response_model=ClassifyResponse,
        response_description="The prediction",
        responses={
            200: {"headers": documentation.PREDICTION_HEADERS},
            **documentation.problem_responses(400, 403, 404, 408, 413, 415, 422, 429, 503, 504),
        },
    )
    async def classify(request: Request) -> Response:
        trace = trace_of(request)
        context = read_context(
            request.headers,
            trace.request_id,
            plane.pseudonymizer,
            trust_headers=plane.rule.trust_headers,
        )
        plane.check_pin(context)
        with plane.admission():
            image = await read_image(request)
            async with cancel_on_disconnect(request.receive):
                result = await plane.classify(
                    [EncodedImage(image)], context, trace, request.scope["started"]
                )
        return _response(result)

    return routes


def _response(result: ClassifyResult) -> Response:
    prediction, rule = result.prediction, result.rule
    probabilities = prediction.probabilities[0].tolist()
    best = probabilities.index(max(probabilities))
    (prediction_id,) = result.prediction_ids
    reason = result.plan.reason.value
    content: dict[str, Any] = {
        "prediction_id": prediction_id,
        "label": prediction.labels[best],
        "confidence": probabilities[best],
        "probabilities": dict(zip(prediction.labels, probabilities, strict=True)),
    }
    headers = {"X-Prediction-Id": prediction_id}
    if rule.reveal_version:
        content["version"] = prediction.version
        headers["X-Served-Version"] = prediction.version
    content |= {
        "rule": rule.kind,
        "reason": reason,
        "rule_id": rule.rule_id,
        "latency_ms": round(result.latency_ms, 2),
    }
    headers["X-Assignment-Reason"] = reason
    return Response(json.dumps(content), headers=headers, media_type="application/json")


_IMAGE = {"type": "string", "contentMediaType": "application/octet-stream"}
_CONTENT: dict[str, Any] = {
    media_type: {"schema": _IMAGE} for media_type in (*IMAGE_TYPES, BINARY_TYPE)
} | {
    FORM_TYPE: {
        "schema": {
            "type": "object",
            "properties": {FORM_FIELD: _IMAGE},
            "required": [FORM_FIELD],
        }
    }
}
