"""What wraps every request of both planes: its id, and one trace of it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.errors import BadHeader, Problem
from serve_app.http.problems import respond
from serve_app.trace import CLIENT_GONE, Trace

MAX_ID_CHARACTERS = 200
CLIENT_GONE_STATUS = 499  # as nginx counts it: nobody is left to read an answer

logger = logging.getLogger(__name__)


class RequestTracing:
    """Middleware: every request leaves one trace, also when its client hung up, and an error that
    nobody expected is a problem as well.

    Serve puts an X-Request-Id into every request that has none, and echoes it.
    """

    def __init__(self, app: ASGIApp, answered: Callable[[Trace], None]) -> None:
        self._app = app
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        readable = 0 < len(given) <= MAX_ID_CHARACTERS and all(32 < c < 127 for c in given)
        request_id = given.decode("ascii") if readable else secrets.token_hex(8)
        trace = Trace(request_id, scope["method"], scope["path"])
        scope["trace"], scope["started"] = trace, started

        async def send_noting_status(message: Message) -> None:
            if message["type"] == "http.response.start":
                trace.status = message["status"]
            await send(message)

        try:
            if given and not readable:
                unreadable = BadHeader(
                    f"X-Request-Id has {len(given)} bytes: expected 1 to {MAX_ID_CHARACTERS}"
                    " visible ASCII characters, or no such header"
                )
                await respond(unreadable, trace)(scope, receive, send_noting_status)
            else:
                await self._app(scope, receive, send_noting_status)
        except ClientDisconnect:  # while it sent its body, or waited for its answer
            trace.error = CLIENT_GONE
            # The server drops it; Serve counts the request by its status.
            await Response(status_code=CLIENT_GONE_STATUS)(scope, receive, send_noting_status)
        except asyncio.CancelledError:  # by Serve
            trace.status, trace.error = CLIENT_GONE_STATUS, CLIENT_GONE
            raise
        except Exception:
            logger.exception("request.failed", extra={"request_id": request_id})
            if trace.status:  # half of another answer is on its way
                raise
            problem = Problem(f"an error of ours; its log has request id {request_id}: try again")
            await respond(problem, trace)(scope, receive, send_noting_status)
        finally:
            trace.route = getattr(scope.get("route"), "path", "")
            trace.latency_ms = 1000 * (time.perf_counter() - started)
            self._answered(trace)
