"""Pages that the service serves by itself: HTML, scripts and styles, without other hosts."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles

PAGES = files("serve_app") / "console"
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)


@cache
def _text(name: str) -> str:
    return (PAGES / name).read_text()


def page(name: str) -> HTMLResponse:
    """A page of the package, which may load only content of this service."""
    return HTMLResponse(
        _text(name),
        headers={"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"},
    )


def add_pages(app: FastAPI) -> None:
    """Add `/docs`, which shows the OpenAPI document, and `/static/…`, the files of all pages."""
    # fastapi_offline has Swagger UI; its own page has an inline script.
    static = StaticFiles(packages=[("serve_app", "console/static"), ("fastapi_offline", "static")])

    @app.get("/docs", include_in_schema=False)
    async def documentation_page() -> Response:
        return page("docs.html")

    @app.get("/static/{path:path}", include_in_schema=False)
    async def static_file(request: Request, path: str) -> Response:
        response = await static.get_response(path, request.scope)
        response.headers["Cache-Control"] = "no-cache"  # the browser asks whether it has changed
        return response
