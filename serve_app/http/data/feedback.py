"""`POST /v1/feedback`: feedback of users on predictions."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from models.strict_json import parse_json
from models.validation import InvalidDocument, format_findings, nearest_of
from serve_app.clock import now_ms
from serve_app.data_plane.plane import DataPlane
from serve_app.errors import BadBody, BadFeedback, NotReady
from serve_app.http import documentation
from serve_app.http.body_limits import read_body
from serve_app.http.problems import json_response
from serve_app.json_numbers import with_whole_numbers
from serve_app.known_labels import KnownLabels
from serve_app.printable import unprintable
from serve_app.privacy.prediction_ids import PredictionId
from serve_app.recording.feedback import FeedbackSink
from serve_app.recording.records import RETENTION_DAYS, Feedback

MAX_FEEDBACK_BYTES = 16 * 2**10
MAX_LABEL_CHARACTERS = 100

logger = logging.getLogger(__name__)


def _one_line(label: str) -> str:
    """The label with single blanks."""
    line = " ".join(label.split())
    if not line:
        raise ValueError("is blank: send what the image shows, or leave it out")
    if len(line) > MAX_LABEL_CHARACTERS:
        raise ValueError(f"has {len(line)} characters, expected at most {MAX_LABEL_CHARACTERS}")
    if fault := unprintable(line):
        raise ValueError(f"{fault}: send text that people can read")
    return line


Label = Annotated[
    str, AfterValidator(_one_line), Field(json_schema_extra={"maxLength": MAX_LABEL_CHARACTERS})
]


class FeedbackBody(BaseModel):
    """Feedback on one prediction, with at least one of the optional fields.

    Attributes:
        prediction_id: From the response to the classification.
        label: What the image shows; compared with the labels of the versions without regard to case
            and blanks.
        correct: Whether the predicted label is right.
        rating: From 1 (bad) to 5 (good).
        complaint: Whether the user complained.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    prediction_id: Annotated[str, Field(min_length=1, max_length=500)]
    label: Label | None = None
    correct: bool | None = None
    rating: Annotated[int, Field(ge=1, le=5)] | None = None
    complaint: bool | None = None


class FeedbackResponse(BaseModel):
    prediction_id: str
    status: Literal["kept"]
    unknown_label: str | documentation.Absent = Field(
        None, description="The label, if no version has it: it is kept apart and is no truth."
    )
    known_labels: list[str] | documentation.Absent = Field(
        None, description="The labels of all versions, if the label is unknown."
    )
    note: str | documentation.Absent = Field(
        None, description="What to do, if the label is unknown."
    )


def router(plane: DataPlane, sink: FeedbackSink) -> APIRouter:
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
        prediction = plane.id_codec.decode(body.prediction_id)
        _reject_old(prediction)
        known = KnownLabels(()) if body.label is None else await plane.known_labels()
        label = _find_label(body, prediction, known)
        _reject_contradictions(body, label, prediction)
        try:
            await sink.accept(_feedback(body, label, prediction))
        except OSError as exc:
            logger.exception("feedback_write.failed")
            raise NotReady("the feedback cannot be stored now: send it again later") from exc
        content = {"prediction_id": body.prediction_id, "status": "kept"}
        if body.label is not None and label is None:
            content |= _about_unknown_label(body.label, [*known])
        return json_response(content)

    return routes


def _parse(data: bytes) -> FeedbackBody:
    try:
        content = with_whole_numbers(parse_json(data))
    except InvalidDocument as exc:
        if exc.findings[0].path:
            raise BadFeedback(str(exc)) from exc
        raise BadBody(f"the body {exc}: send a JSON object") from exc
    if isinstance(content, dict):  # a null key is a key left out
        content = {key: value for key, value in content.items() if value is not None}
    try:
        return FeedbackBody.model_validate(content)
    except ValidationError as exc:
        raise BadFeedback(format_findings(exc, "the body", FeedbackBody)) from exc


def _find_label(body: FeedbackBody, prediction: PredictionId, known: KnownLabels) -> str | None:
    """The label that the user means; None without one, and for one that no version has."""
    if body.label is None:
        return None
    return KnownLabels([prediction.label]).find(body.label) or known.find(body.label)


def _about_unknown_label(label: str, known: list[str]) -> dict[str, Any]:
    """What the response says about a label that no version has."""
    nearest = nearest_of(label, known)
    meant = f"did you mean {nearest}?" if nearest else "correct it, or train a version that has it"
    return {
        "unknown_label": label,
        "known_labels": known,
        "note": f"no version has this label, so it does not count as the truth: {meant}",
    }


def _feedback(body: FeedbackBody, label: str | None, prediction: PredictionId) -> Feedback:
    return Feedback(
        writer=prediction.writer,
        sequence=prediction.sequence,
        at_ms=now_ms(),
        answered_at_ms=prediction.at_ms,
        rule_id=prediction.rule_id,
        assigned=prediction.version or None,
        answered=prediction.label,
        label=label,
        correct=body.correct,
        rating=body.rating,
        complaint=body.complaint,
        unknown_label=body.label if label is None else None,
    )


def _reject_old(prediction: PredictionId) -> None:
    age = timedelta(milliseconds=now_ms() - prediction.at_ms)
    if age > timedelta(days=RETENTION_DAYS):
        raise BadFeedback(
            f"the prediction is more than {age.days} days old: feedback is accepted for predictions"
            f" of the last {RETENTION_DAYS} days"
        )


def _reject_contradictions(body: FeedbackBody, label: str | None, prediction: PredictionId) -> None:
    values = (body.label, body.correct, body.rating, body.complaint)
    if all(value is None for value in values):
        raise BadFeedback(
            "the feedback is empty: send at least one of label, correct, rating, complaint"
        )
    if body.label is None or body.correct is None:
        return
    if (label == prediction.label) != body.correct:
        raise BadFeedback(
            f"correct is {str(body.correct).lower()} and label is {body.label}, but the predicted"
            f" label is {prediction.label}: send only one of them"
        )
