"""Access of web pages of other origins, as the Fetch standard defines it (CORS)."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

METHODS = ("GET", "HEAD", "POST")
EXPOSED_HEADERS = (
    "Accept",
    "Accept-Encoding",
    "Allow",
    "Inference-Header-Content-Length",
    "Retry-After",
    "X-Assignment-Reason",
    "X-Prediction-Id",
    "X-Request-Id",
    "X-Served-Version",
)


class Cors(CORSMiddleware):
    """Starlette's middleware with our policy: any request header, no credentials.

    A preflight states the policy with status 204, also to an origin that is not listed: the browser
    decides.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=("*",),
            expose_headers=EXPOSED_HEADERS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        policy = super().preflight_response(request_headers).headers
        headers = {name: policy[name] for name in policy if not name.startswith("content-")}
        return Response(status_code=204, headers=headers)
