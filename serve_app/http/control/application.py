"""The HTTP application of the control plane; Serve mounts it at /control."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Lifespan

from serve_app import __version__
from serve_app.http import documentation
from serve_app.http.body_limits import BodyLimit
from serve_app.http.control import changes, reports, reviews, session, state
from serve_app.http.control.service import ControlService, ReadService
from serve_app.http.control.session import Authenticator
from serve_app.http.problems import add_error_handlers
from serve_app.http.request_tracing import RequestTracing
from serve_app.trace import Trace

PAGES = files("serve_app") / "console"
MAX_BODY_BYTES = 2**20  # a deployment file has a few thousand


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
        responses=documentation.problem_responses(400, 500),  # see `RequestTracing`
    )

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def console_page() -> HTMLResponse:
        return HTMLResponse((PAGES / "console.html").read_text(), headers=_PAGE_HEADERS)

    @app.get("/review", response_class=HTMLResponse, include_in_schema=False)
    async def review_page() -> HTMLResponse:
        return HTMLResponse((PAGES / "review.html").read_text(), headers=_PAGE_HEADERS)

    app.include_router(session.router(authenticator))
    for router in (
        state.router(control, reads),
        changes.router(control, reads),
        reports.router(reads),
        reviews.router(control, reads),
    ):
        app.include_router(router, dependencies=[Depends(authenticator.require_token)])
    app.mount("/static", StaticFiles(packages=[("serve_app", "console/static")]))
    add_error_handlers(app)
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES)
    app.add_middleware(RequestTracing, record_trace=record_trace)
    return app


_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
