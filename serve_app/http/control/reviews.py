"""`/control/reviews`: kept images and their blind reviews.

A response shows the predictions of an image only after its review.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from serve_app.control_plane.changes import Review, ReviewRequest
from serve_app.http import documentation
from serve_app.http.control.json_route import StrictJsonRoute
from serve_app.http.control.parameters import Limit
from serve_app.http.control.service import ControlService, ReadService
from serve_app.http.problems import json_response

ImageId = Annotated[
    str, Path(pattern="^[0-9a-f]{12}-[1-9][0-9]{0,14}$", examples=["0123456789ab-7"])
]
_JPEG = "image/jpeg"


def router(control: ControlService, reads: ReadService) -> APIRouter:
    """The router of `/reviews`."""
    errors = documentation.problem_responses(401, 404, 422, 429, 503, 504)
    routes = APIRouter(
        prefix="/reviews", tags=["reviews"], responses=errors, route_class=StrictJsonRoute
    )

    @routes.get("", summary="List the kept images")
    async def list_images(
        limit: Limit = 50,
        reviewed: bool = Query(
            False, description="List reviewed images instead of images that wait for review."
        ),
    ) -> Response:
        return json_response(await reads.list_images(limit, reviewed))

    @routes.get("/{image_id}", summary="Show a kept image")
    async def get_image(image_id: ImageId) -> Response:
        return json_response(await reads.find_image(image_id))

    @routes.get(
        "/{image_id}/image",
        summary="Get the content of a kept image",
        response_class=Response,
        responses={200: {"description": "A small JPEG.", "content": {_JPEG: {}}}},
    )
    async def get_image_content(image_id: ImageId) -> Response:
        jpeg = await reads.image_content(image_id)
        return Response(jpeg, media_type=_JPEG, headers={"Cache-Control": "no-store"})

    @routes.post(
        "/{image_id}",
        summary="Review a kept image",
        responses=documentation.problem_responses(408, 409, 413),
    )
    async def add_review(image_id: ImageId, body: ReviewRequest) -> Response:
        await control.apply(Review(image_id=image_id, **body.model_dump()))
        return json_response(await reads.find_image(image_id))

    return routes
