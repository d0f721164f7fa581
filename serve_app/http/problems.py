"""Errors become RFC 9457 problems: what came, what was expected, what to do."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from serve_app.errors import Busy, Problem, Unauthorized
from serve_app.trace import Trace

PROBLEM_TYPE = "application/problem+json"
MAX_DETAIL_CHARACTERS = 1000


def explain_errors(app: FastAPI) -> None:
    """What the routes of an application raise becomes a problem."""

    async def on_problem(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, Problem)  # noqa: S101 registered for it alone
        return respond(exc, trace_of(request))

    async def on_http(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)  # noqa: S101 registered for it alone
        phrase = HTTPStatus(exc.status_code).phrase
        code = phrase.lower().replace(" ", "_")
        trace_of(request).error = code
        path = request.url.path
        detail = {
            404: f"there is no {path}: /openapi.json lists what there is",
            405: f"{path} does not take {request.method}: /openapi.json tells what it takes",
        }.get(exc.status_code, str(exc.detail))
        return problem_response(
            exc.status_code, code, phrase, detail, dict(exc.headers) if exc.headers else None
        )

    async def on_validation(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, RequestValidationError)  # noqa: S101 registered for it alone
        trace_of(request).error = "bad_parameter"
        detail = "; ".join(
            f"{'.'.join(str(key) for key in error['loc'])}: {error['msg']}"
            for error in exc.errors()
        )
        return problem_response(422, "bad_parameter", "A parameter is impossible", detail)

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_validation)


def respond(problem: Problem, trace: Trace) -> Response:
    """The answer that a problem is."""
    trace.error = problem.code
    headers = {}
    if isinstance(problem, Busy):
        headers["Retry-After"] = "1"
    if isinstance(problem, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return problem_response(problem.status, problem.code, problem.title, str(problem), headers)


def problem_response(
    status: int, code: str, title: str, detail: str, headers: dict[str, str] | None = None
) -> Response:
    """RFC 9457; `error` repeats the detail for clients of the Open Inference Protocol.

    A detail can repeat what came, and is cut where that was long.
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


def trace_of(request: Request) -> Trace:
    """The trace that `RequestTracing` opened for a request."""
    return request.scope["trace"]  # type: ignore[no-any-return]


def json_response(content: Any, status: int = 200) -> Response:
    """Compact JSON."""
    return Response(
        json.dumps(content, separators=(",", ":"), ensure_ascii=False),
        status,
        media_type="application/json",
    )
