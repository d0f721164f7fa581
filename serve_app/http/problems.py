"""Converts errors to RFC 9457 problems: what came, what was expected, what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from models.validation import find, join_findings
from serve_app.errors import Problem
from serve_app.http.methods import allowed_methods, other_slash
from serve_app.trace import Trace

PROBLEM_TYPE = "application/problem+json"
MAX_DETAIL_CHARACTERS = 1000


def add_error_handlers(app: FastAPI) -> None:
    """Make the application respond to every error of a route with a problem."""

    async def on_problem(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, Problem)  # noqa: S101 registered for this class
        return problem_response(exc, trace_of(request))

    async def on_http(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)  # noqa: S101 registered for this class
        path, status, headers = request.scope["path"], exc.status_code, dict(exc.headers or {})
        if status == 404 and (other := other_slash(request.scope)):
            return _redirect(other, request.scope["query_string"])
        if status == 405:  # Starlette names the methods of one route
            headers["Allow"] = allowed_methods(request.scope, path)
        phrase = HTTPStatus(status).phrase
        code = phrase.lower().replace(" ", "_")
        trace_of(request).error = code
        openapi = request.scope["openapi"]
        detail = {
            404: f"there is no path {path}: see {openapi} for the paths",
            405: f"{path} does not accept {request.method}: see {openapi} for its methods",
        }.get(status, str(exc.detail))
        return _response(status, code, phrase, detail, headers)

    async def on_validation(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, RequestValidationError)  # noqa: S101 registered for this class
        trace_of(request).error = "bad_parameter"
        detail = join_findings([*find(exc.errors(), "request")])
        return _response(422, "bad_parameter", "A parameter is invalid", detail)

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_validation)


def problem_response(problem: Problem, trace: Trace) -> Response:
    """The response to a problem; records its code in the trace."""
    trace.error = problem.code
    return _response(problem.status, problem.code, problem.title, str(problem), problem.headers)


def _response(
    status: int, code: str, title: str, detail: str, headers: Mapping[str, str] | None = None
) -> Response:
    """A problem as JSON; `error` repeats the detail for Open Inference Protocol clients.

    A detail longer than `MAX_DETAIL_CHARACTERS` is cut: it may quote the request.
    """
    if len(detail) > MAX_DETAIL_CHARACTERS:
        detail = detail[: MAX_DETAIL_CHARACTERS - 1] + "…"
    content = {
        "type": f"urn:serve-app:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "error": detail,
    }
    return Response(json.dumps(content), status, headers, media_type=PROBLEM_TYPE)


def _redirect(path: str, query: bytes) -> Response:
    """A redirect without the host: the client sent that of the request."""
    location = quote(path) + (f"?{query.decode('latin-1')}" if query else "")
    return RedirectResponse(location)


def trace_of(request: Request) -> Trace:
    """The trace that `RequestTracing` created for a request."""
    return request.scope["trace"]  # type: ignore[no-any-return]


def json_response(content: Any, status: int = 200) -> Response:
    """A response with compact JSON."""
    return Response(
        json.dumps(content, separators=(",", ":")),
        status,
        media_type="application/json",
    )
