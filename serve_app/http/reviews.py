"""`/control/reviews`: kept images and their blind reviews.

A response shows the predictions of an image only after its review.
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from serve_app.http import documentation
from serve_app.http.audit_fields import AuditFields, IdempotencyKey, TextLine
from serve_app.http.problems import json_response


class Reviews(Protocol):
    """Operations behind the routes; see `serve_app.review_service`."""

    async def list_images(self, limit: int, reviewed: bool) -> dict[str, Any]: ...
    async def find_image(self, image_id: str) -> dict[str, Any]: ...
    async def image_content(self, image_id: str) -> bytes: ...
    async def add_review(
        self, image_id: str, answer: str, actor: str, reason: str, key: str | None
    ) -> dict[str, Any]: ...


class ReviewRequest(AuditFields):
    """What an image shows; the reason is optional."""

    answer: TextLine = Field(
        min_length=1,
        max_length=200,
        description="A label of one of the versions, `other`, or `cannot_tell`.",
    )
    reason: TextLine = Field("", max_length=1000)


ImageId = Annotated[
    str, Path(pattern="^[0-9a-f]{12}-[1-9][0-9]{0,14}$", examples=["0123456789ab-7"])
]
_LIST_ERRORS = documentation.problem_responses(401, 422, 429, 503, 504)
_IMAGE_ERRORS = documentation.problem_responses(401, 404, 422, 429, 503, 504)
_REVIEW_ERRORS = documentation.problem_responses(401, 404, 408, 409, 413, 422, 429, 503, 504)
_JPEG = "image/jpeg"


def router(reviews: Reviews) -> APIRouter:
    """The router of `/reviews`."""
    routes = APIRouter(prefix="/reviews")

    @routes.get("", responses=_LIST_ERRORS)
    async def list_images(
        limit: int = Query(50, ge=1, le=1000),
        reviewed: bool = Query(
            False, description="List reviewed images instead of images that wait for review."
        ),
    ) -> Response:
        return json_response(await reviews.list_images(limit, reviewed))

    @routes.get("/{image_id}", responses=_IMAGE_ERRORS)
    async def get_image(image_id: ImageId) -> Response:
        return json_response(await reviews.find_image(image_id))

    @routes.get(
        "/{image_id}/image",
        response_class=Response,
        responses={200: {"description": "A small JPEG.", "content": {_JPEG: {}}}, **_IMAGE_ERRORS},
    )
    async def get_image_content(image_id: ImageId) -> Response:
        jpeg = await reviews.image_content(image_id)
        return Response(jpeg, media_type=_JPEG, headers={"Cache-Control": "no-store"})

    @routes.post("/{image_id}", responses=_REVIEW_ERRORS)
    async def add_review(
        image_id: ImageId, body: ReviewRequest, key: IdempotencyKey = None
    ) -> Response:
        return json_response(
            await reviews.add_review(image_id, body.answer, body.actor, body.reason, key)
        )

    return routes
