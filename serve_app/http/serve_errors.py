"""Turns the error responses that Serve makes itself, in plain text, into problems."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from serve_app.errors import Busy, NotReady, Problem, TooSlow
from serve_app.http.problems import problem_response
from serve_app.http.response_headers import set_defaults
from serve_app.trace import Trace

OWN_PATHS_OF_SERVE = "/-/"  # their responses stay
_PROBLEMS: dict[int, Problem] = {
    # The applications answer every path: this one is not there.
    404: NotReady("the service is starting or being recreated: try again in a second"),
    408: TooSlow("the request took longer than the service allows: try again"),
    429: Busy("all replicas have too many requests: try again in a second"),
    500: Problem("the request failed in Serve: try again"),
    503: NotReady("no replica can take the request now: try again in a second"),
}


def convert_serve_errors(scope: Scope, receive: Receive, send: Send) -> Send:
    """A `send` that replaces error responses of Serve."""
    replaced = False

    async def send_problem(message: Message) -> None:
        nonlocal replaced
        if replaced:
            return
        if message["type"] == "http.response.start" and _is_of_serve(message, scope["path"]):
            replaced = True
            request_id = MutableHeaders(scope=message).get("X-Request-Id", "")
            trace = Trace(request_id, scope["method"], scope["path"])
            response = problem_response(_PROBLEMS[message["status"]], trace)
            if request_id:
                response.headers["X-Request-Id"] = request_id
            set_defaults(response.headers)
            await response(scope, receive, send)
        else:
            await send(message)

    return send_problem


def _is_of_serve(message: Message, path: str) -> bool:
    """Whether Serve made this response: the errors of our applications are never plain text."""
    if message["status"] not in _PROBLEMS or path.startswith(OWN_PATHS_OF_SERVE):
        return False
    media_type = MutableHeaders(scope=message).get("content-type", "")
    return media_type.startswith("text/plain")
