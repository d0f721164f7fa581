"""Kept images, over HTTP: seen first, then reviewed, then told what the versions had said."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from serve_app.http import documentation
from serve_app.http.audit_fields import AuditFields, Key, Line
from serve_app.http.problems import json_response


class Reviews(Protocol):
    """What the routes ask; see `serve_app.review_service.ReviewService`."""

    async def disagreements(self, limit: int, reviewed: bool) -> dict[str, Any]: ...
    async def disagreement(self, image_id: str) -> dict[str, Any]: ...
    async def image(self, image_id: str) -> bytes: ...
    async def review(
        self, image_id: str, answer: str, actor: str, reason: str, key: str | None
    ) -> dict[str, Any]: ...


class ReviewAnswer(AuditFields):
    """What an image shows; the reason may be left out."""

    answer: Line = Field(
        min_length=1,
        max_length=200,
        description="A label of either version, `other`, or `cannot_tell`.",
    )
    reason: Line = Field("", max_length=1000)


Id = Annotated[str, Path(pattern="^[0-9a-f]{12}-[1-9][0-9]{0,14}$", examples=["0123456789ab-7"])]
_MAY_FAIL = documentation.problems(401, 422, 429, 503, 504)
_MAY_BE_GONE = documentation.problems(401, 404, 422, 429, 503, 504)
_MAY_BE_REVIEWED = documentation.problems(401, 404, 408, 409, 413, 422, 429, 503, 504)
_JPEG = "image/jpeg"


def routes(reviews: Reviews) -> APIRouter:
    """All of them."""
    router = APIRouter(prefix="/disagreements")

    @router.get("", responses=_MAY_FAIL)
    async def disagreements(
        limit: int = Query(50, ge=1, le=1000),
        reviewed: bool = Query(
            False, description="Those that were reviewed, instead of those that wait for it."
        ),
    ) -> Response:
        return json_response(await reviews.disagreements(limit, reviewed))

    @router.get("/{image_id}", responses=_MAY_BE_GONE)
    async def disagreement(image_id: Id) -> Response:
        return json_response(await reviews.disagreement(image_id))

    @router.get(
        "/{image_id}/image",
        response_class=Response,
        responses={200: {"description": "A small JPEG.", "content": {_JPEG: {}}}, **_MAY_BE_GONE},
    )
    async def image(image_id: Id) -> Response:
        jpeg = await reviews.image(image_id)
        return Response(jpeg, media_type=_JPEG, headers={"Cache-Control": "no-store"})

    @router.post("/{image_id}/review", responses=_MAY_BE_REVIEWED)
    async def review(image_id: Id, body: ReviewAnswer, key: Key = None) -> Response:
        return json_response(
            await reviews.review(image_id, body.answer, body.actor, body.reason, key)
        )

    return router
