"""The HTTP application of the control plane; Serve mounts it at /control."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.types import Lifespan

from serve_app import __version__
from serve_app.http import documentation
from serve_app.http.body_limits import BodyLimit
from serve_app.http.control import changes, reports, reviews, session, state
from serve_app.http.control.authentication import Authenticator
from serve_app.http.control.service import ControlService, ReadService
from serve_app.http.methods import PathMethods
from serve_app.http.pages import add_pages, page
from serve_app.http.problems import add_error_handlers
from serve_app.http.queries import reject_unknown_keys
from serve_app.http.request_tracing import RequestTracing
from serve_app.http.response_headers import ResponseHeaders
from serve_app.trace import Trace

MAX_BODY_BYTES = 2**20  # a deployment file has a few thousand
MAX_SIGN_IN_BYTES = 4096


def application(
    control: ControlService,
    reads: ReadService,
    authenticator: Authenticator,
    record_trace: Callable[[Trace], None],
    lifespan: Lifespan[FastAPI],
) -> FastAPI:
    """The FastAPI application; arguments as in `serve_app.http.data.application.application`."""
    app = FastAPI(
        title="serve-app control plane",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # see `add_pages`
        redoc_url=None,
        redirect_slashes=False,  # see `add_error_handlers`
        responses=documentation.problem_responses(400, 500, 504),  # see `RequestTracing`
    )

    def max_body_bytes(request: Request) -> int:
        """A body is read only with a credential, or to sign in."""
        if authenticator.role(request):
            return MAX_BODY_BYTES
        has_body = request.headers.get("content-length", "0") != "0" or (
            "transfer-encoding" in request.headers
        )
        if has_body and not request.scope["path"].endswith("/session"):
            authenticator.require_reviewer(request)
        return MAX_SIGN_IN_BYTES

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def console_page() -> HTMLResponse:
        return page("console.html")

    @app.get("/review", response_class=HTMLResponse, include_in_schema=False)
    async def review_page() -> HTMLResponse:
        return page("review.html")

    unknown_keys = Depends(reject_unknown_keys)
    app.include_router(session.router(authenticator))
    for router in (
        state.router(control, reads),
        changes.router(control, reads, authenticator),
        reports.router(reads),
    ):
        app.include_router(
            router, dependencies=[Depends(authenticator.require_operator), unknown_keys]
        )
    app.include_router(
        reviews.router(control, reads),
        dependencies=[Depends(authenticator.require_reviewer), unknown_keys],
    )
    add_pages(app)
    add_error_handlers(app)
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes)
    app.add_middleware(PathMethods)
    app.add_middleware(RequestTracing, record_trace=record_trace)
    app.add_middleware(ResponseHeaders)
    return app
