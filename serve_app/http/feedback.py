"""`POST /v1/feedback`: what users say of the answers."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.validation import sentence
from serve_app.clock import now_ms
from serve_app.domain import ROWS_KEPT_DAYS, Feedback
from serve_app.errors import BadBody, BadFeedback, NotReady
from serve_app.http import documentation
from serve_app.http.body_limits import read_body
from serve_app.http.documentation import TEXT, fields
from serve_app.http.problems import json_response
from serve_app.privacy.prediction_ids import PredictionId, PredictionIdCodec
from serve_app.recording.feedback import FeedbackSink

MAX_FEEDBACK_BYTES = 16 * 2**10
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"  # PostgreSQL keeps no NUL

logger = logging.getLogger(__name__)


class FeedbackBody(BaseModel):
    """What is said of one answer; at least one thing.

    Attributes:
        prediction_id: Of the answer.
        label: What the image shows.
        correct: Whether the answer was right.
        rating: From 1, bad, to 5, good.
        complaint: Whether the user complained.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    prediction_id: Annotated[str, Field(min_length=1, max_length=500)]
    label: Annotated[str, Field(max_length=100, pattern=PRINTABLE)] | None = None
    correct: bool | None = None
    rating: Annotated[int, Field(ge=1, le=5)] | None = None
    complaint: bool | None = None


def router(id_codec: PredictionIdCodec, desk: FeedbackSink) -> APIRouter:
    """The route."""
    routes = APIRouter(tags=["feedback"])

    @routes.post(
        "/v1/feedback",
        summary="Say how good an answer was",
        response_class=Response,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": FeedbackBody.model_json_schema()}},
            }
        },
        responses={
            200: documentation.answer("It is kept", fields(prediction_id=TEXT, status=TEXT)),
            **documentation.problems(400, 404, 408, 413, 415, 422, 503),
        },
    )
    async def feedback(request: Request) -> Response:
        body = _parsed(await read_body(request, MAX_FEEDBACK_BYTES))
        prediction = id_codec.decode(body.prediction_id)
        _reject_old(prediction)
        _reject_contradictions(body, prediction)
        try:
            await desk.accept(_feedback(body, prediction))
        except OSError as exc:
            logger.exception("feedback.not_kept")
            raise NotReady("the feedback cannot be kept just now: send it again later") from exc
        return json_response({"prediction_id": body.prediction_id, "status": "kept"})

    return routes


def _parsed(data: bytes) -> FeedbackBody:
    try:
        return FeedbackBody.model_validate_json(data)
    except ValidationError as exc:
        if exc.errors()[0]["type"] == "json_invalid":
            raise BadBody(f"the body is not JSON: {exc.errors()[0]['msg']}") from exc
        raise BadFeedback(sentence(exc, "the body")) from exc


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
    if age > timedelta(days=ROWS_KEPT_DAYS):
        raise BadFeedback(
            f"the answer is more than {age.days} days old: feedback is kept for answers of the"
            f" last {ROWS_KEPT_DAYS} days"
        )


def _reject_contradictions(body: FeedbackBody, prediction: PredictionId) -> None:
    said = (body.label, body.correct, body.rating, body.complaint)
    if all(value is None for value in said):
        raise BadFeedback("it says nothing: give one of label, correct, rating, complaint")
    if body.label is None or body.correct is None:
        return
    if (body.label == prediction.label) != body.correct:
        raise BadFeedback(
            f"correct is {str(body.correct).lower()} and label is {body.label}, but the answer was"
            f" {prediction.label}: leave one of them out"
        )
