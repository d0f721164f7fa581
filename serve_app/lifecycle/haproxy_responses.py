"""The responses that HAProxy gives itself, as problems (RFC 9457).

HAProxy has no file for its responses to a request that is not HTTP, or whose header does not
arrive: they stay short HTML pages with the status 400 or 408.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path

from serve_app.errors import BodyTooSlow, NotReady, Problem, TooSlow
from serve_app.lifecycle.haproxy import (
    COUNT_REFUSED,
    REQUEST_TIMEOUT_S,
    SCRIPT,
    UNAVAILABLE,
    error_file,
)
from serve_app.refused_requests import FILE

MAX_DRAINED_BYTES = 16 * 2**20  # more than any body that an application accepts

_UNAVAILABLE = NotReady(
    "the service is starting, or its data plane is being recreated: repeat the request"
)
_ERRORS: dict[int, Problem] = {
    408: BodyTooSlow(f"the request did not arrive within {REQUEST_TIMEOUT_S} s: send it faster"),
    502: NotReady("the replica that had the request ended: repeat the request"),
    503: NotReady("no replica of the application can be reached: repeat the request"),
    504: TooSlow("no replica of the application responded in time: repeat the request"),
}
# The service reads the whole request first: if HAProxy responds earlier, it closes the connection,
# and a client that sends a large body may lose the response.
_SCRIPT = """\
core.register_fetches("{count_refused}", function()
    local file = io.open("{file}", "a")
    if file then
        file:write(".")
        file:close()
    end
    return 1
end)

core.register_service("{name}", "http", function(applet)
    for _ = 1, {chunks} do
        if applet:receive({chunk_bytes}) == "" then break end
    end
    applet:set_status({status})
{headers}
    applet:start_response()
    if applet.method ~= "HEAD" then applet:send([==[{body}]==]) end
end)
"""
_CHUNK_BYTES = 65536


def write(folder: Path) -> None:
    """Write the files that a completed configuration names."""
    for status, problem in _ERRORS.items():
        error_file(folder, status).write_bytes(_message(problem).encode())
    headers = _headers(_UNAVAILABLE)
    script = _SCRIPT.format(
        count_refused=COUNT_REFUSED,
        file=folder / FILE,
        name=UNAVAILABLE,
        chunks=MAX_DRAINED_BYTES // _CHUNK_BYTES,
        chunk_bytes=_CHUNK_BYTES,
        status=_UNAVAILABLE.status,
        headers="\n".join(f'    applet:add_header("{k}", "{v}")' for k, v in headers.items()),
        body=body(_UNAVAILABLE),
    )
    (folder / SCRIPT).write_text(script)
    (folder / FILE).touch()


def body(problem: Problem) -> str:
    """The body of the response to a problem, as `serve_app.http.problems` writes it."""
    detail = str(problem)
    content = {
        "type": f"urn:serve-app:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "code": problem.code,
        "error": detail,
    }
    return json.dumps(content)


def _headers(problem: Problem) -> dict[str, str]:
    return {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body(problem).encode())),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }


def _message(problem: Problem) -> str:
    status = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"
    headers = (f"{name}: {value}" for name, value in _headers(problem).items())
    return "\r\n".join([status, *headers, "", body(problem)])
