"""Request id and trace of every request, on both planes."""

from __future__ import annotations

import asyncio
import logging
import secrets
import string
import time
from collections.abc import Callable
from urllib.parse import quote

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.errors import BadHeader, Problem, TooSlow
from serve_app.http.problems import problem_response
from serve_app.trace import CLIENT_GONE, Trace

MAX_ID_CHARACTERS = 200
TIMEOUT_S = "timeout_s"  # a key of the scope, set by `HeaderGuard`: the client's limit in seconds
CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that disconnects before the response

logger = logging.getLogger(__name__)


class RequestTracing:
    """Middleware: records one trace per request, also if the client disconnects, and responds to
    unexpected errors with a problem.

    Serve adds an X-Request-Id to every request without one, and to the response.
    """

    def __init__(self, app: ASGIApp, record_trace: Callable[[Trace], None]) -> None:
        self._app = app
        self._record_trace = record_trace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        sent_id = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        is_valid = 0 < len(sent_id) <= MAX_ID_CHARACTERS and all(32 < c < 127 for c in sent_id)
        request_id = sent_id.decode("ascii") if is_valid else secrets.token_hex(8)
        trace = Trace(request_id, scope["method"], scope["path"])
        scope["trace"], scope["started"] = trace, started
        if not scope["query_string"].isascii():  # Starlette decodes it as UTF-8
            scope["query_string"] = quote(scope["query_string"], string.punctuation).encode()
        scope["openapi"] = f"{scope.get('root_path', '')}/openapi.json"

        async def send_with_status(message: Message) -> None:
            if message["type"] == "http.response.start":
                trace.status = message["status"]
            await send(message)

        limit = asyncio.timeout(scope.get(TIMEOUT_S))
        try:
            if sent_id and not is_valid:
                problem: Problem = BadHeader(
                    f"X-Request-Id has {len(sent_id)} bytes, expected 1 to {MAX_ID_CHARACTERS}"
                    " visible ASCII characters: send such an id, or omit the header"
                )
                await problem_response(problem, trace)(scope, receive, send_with_status)
            else:
                async with limit:
                    await self._app(scope, receive, send_with_status)
        except ClientDisconnect:  # while it sent the body, or waited for the response
            trace.error = CLIENT_GONE
            # The server drops this response; Serve counts the request under its status.
            await Response(status_code=CLIENT_CLOSED_REQUEST)(scope, receive, send_with_status)
        except asyncio.CancelledError:  # Serve cancelled the request
            trace.status, trace.error = CLIENT_CLOSED_REQUEST, CLIENT_GONE
            raise
        except Exception:
            if limit.expired():
                problem = TooSlow(
                    f"the request took longer than the {scope[TIMEOUT_S]:g} s of"
                    " X-Request-Timeout-Seconds: allow more time, or omit the header"
                )
            else:
                logger.exception("request.failed", extra={"request_id": request_id})
                problem = Problem(
                    f"an internal error, logged with request id {request_id}: try again"
                )
            if trace.status:  # a part of the response was sent
                raise
            await problem_response(problem, trace)(scope, receive, send_with_status)
        finally:
            trace.route = getattr(scope.get("route"), "path", "")
            trace.latency_ms = 1000 * (time.perf_counter() - started)
            self._record_trace(trace)
