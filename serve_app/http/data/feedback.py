"""`POST /v1/feedback`: feedback of users on predictions."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.validation import format_findings
from serve_app.clock import now_ms
from serve_app.errors import BadBody, BadFeedback, NotReady
from serve_app.http import documentation
from serve_app.http.body_limits import read_body
from serve_app.http.problems import json_response
from serve_app.privacy.prediction_ids import PredictionId, PredictionIdCodec
from serve_app.recording.feedback import FeedbackSink
from serve_app.recording.records import RETENTION_DAYS, Feedback

MAX_FEEDBACK_BYTES = 16 * 2**10
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"  # PostgreSQL stores no NUL

logger = logging.getLogger(__name__)


class FeedbackBody(BaseModel):
    """Feedback on one prediction, with at least one of the optional fields.

    Attributes:
        prediction_id: From the response to the classification.
        label: What the image shows.
        correct: Whether the predicted label is right.
        rating: From 1 (bad) to 5 (good).
        complaint: Whether the user complained.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    prediction_id: Annotated[str, Field(min_length=1, max_length=500)]
    label: Annotated[str, Field(max_length=100, pattern=PRINTABLE)] | None = None
    correct: bool | None = None
    rating: Annotated[int, Field(ge=1, le=5)] | None = None
    complaint: bool | None = None


class FeedbackResponse(BaseModel):
    prediction_id: str
    status: Literal["kept"]


def router(id_codec: PredictionIdCodec, sink: FeedbackSink) -> APIRouter:
    """The router of `/v1/feedback`."""
    routes = APIRouter(tags=["feedback"])

    @routes.post(
        "/v1/feedback",
        summary="Send feedback on a prediction",
        response_model=FeedbackResponse,
        response_description="The feedback is stored",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": FeedbackBody.model_json_schema()}},
            }
        },
        responses=documentation.problem_responses(400, 404, 408, 413, 415, 422, 503),
    )
    async def feedback(request: Request) -> Response:
        body = _parse(await read_body(request, MAX_FEEDBACK_BYTES))
        prediction = id_codec.decode(body.prediction_id)
        _reject_old(prediction)
        _reject_contradictions(body, prediction)
        try:
            await sink.accept(_feedback(body, prediction))
        except OSError as exc:
            logger.exception("feedback_write.failed")
            raise NotReady("the feedback cannot be stored now: send it again later") from exc
        return json_response({"prediction_id": body.prediction_id, "status": "kept"})

    return routes


def _parse(data: bytes) -> FeedbackBody:
    try:
        return FeedbackBody.model_validate_json(data)
    except ValidationError as exc:
        if exc.errors()[0]["type"] == "json_invalid":
            raise BadBody(
                f"the body is not JSON ({exc.errors()[0]['msg']}): send a JSON object"
            ) from exc
        raise BadFeedback(format_findings(exc, "the body")) from exc


def _feedback(body: FeedbackBody, prediction: PredictionId) -> Feedback:
    return Feedback(
        writer=prediction.writer,
        sequence=prediction.sequence,
        at_ms=now_ms(),
        answered_at_ms=prediction.at_ms,
        rule_id=prediction.rule_id,
        assigned=prediction.version or None,
        answered=prediction.label,
        label=body.label,
        correct=body.correct,
        rating=body.rating,
        complaint=body.complaint,
    )


def _reject_old(prediction: PredictionId) -> None:
    age = timedelta(milliseconds=now_ms() - prediction.at_ms)
    if age > timedelta(days=RETENTION_DAYS):
        raise BadFeedback(
            f"the prediction is more than {age.days} days old: feedback is accepted for predictions"
            f" of the last {RETENTION_DAYS} days"
        )


def _reject_contradictions(body: FeedbackBody, prediction: PredictionId) -> None:
    values = (body.label, body.correct, body.rating, body.complaint)
    if all(value is None for value in values):
        raise BadFeedback(
            "the feedback is empty: send at least one of label, correct, rating, complaint"
        )
    if body.label is None or body.correct is None:
        return
    if (body.label == prediction.label) != body.correct:
        raise BadFeedback(
            f"correct is {str(body.correct).lower()} and label is {body.label}, but the predicted"
            f" label is {prediction.label}: send only one of them"
        )
