"""The request headers that Serve reads before it calls the application.

Serve decodes them as UTF-8, and fails if it cannot (`_direct_ingress_asgi` in its
`_private/replica.py`, `setup_request_context_and_handle` in its `_private/proxy.py`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable

from serve_app.errors import BadHeader

REQUEST_ID = b"x-request-id"
TIMEOUT = b"x-request-timeout-seconds"
# Serve compares these two without regard to `-` and `_`.
SESSION = os.environ.get("RAY_SERVE_SESSION_ID_HEADER_KEY", "x-session-id").lower().encode()
SESSION = SESSION.replace(b"_", b"-")
MODEL_ID = b"serve-multiplexed-model-id"
# Orders to Serve, which clients may not give.
NOT_FOR_CLIENTS = (MODEL_ID, b"x-request-disconnect-disabled")
TRACE_CONTEXT = (b"traceparent", b"tracestate")  # to be ignored if malformed (W3C Trace Context)

Headers = list[tuple[bytes, bytes]]


def check_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[Headers, float | None]:
    """The headers that Serve may read, and the time limit of the request in seconds.

    Serve would answer a request that exceeds its limit with plain text, and one without a valid
    limit without any.

    Raises:
        BadHeader: A header is not UTF-8, or the time limit is not a positive number.
    """
    kept: Headers = []
    timeout_s: float | None = None
    for name, value in headers:
        plain_name = name.replace(b"_", b"-")
        if plain_name in NOT_FOR_CLIENTS:
            continue
        if name == TIMEOUT:
            timeout_s = _seconds(value)
            continue
        if name == REQUEST_ID and not value:
            continue  # Serve would repeat it instead of generating one
        if name in TRACE_CONTEXT and not value.isascii():
            continue
        if name == REQUEST_ID or plain_name == SESSION:
            _require_utf8(name, value)
        kept.append((name, value))
    return kept, timeout_s


def _require_utf8(name: bytes, value: bytes) -> None:
    try:
        value.decode()
    except UnicodeDecodeError as exc:
        shown = name.decode("latin-1").title()
        raise BadHeader(f"{shown} is not UTF-8: send UTF-8 text, or omit the header") from exc


def _seconds(value: bytes) -> float:
    text = value.decode("latin-1")
    try:
        seconds = float(text) if value.isascii() and b"_" not in value else math.nan
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise BadHeader(
            f"X-Request-Timeout-Seconds is '{text[:50]}': send a positive number of seconds such as"
            " 2.5, or omit the header"
        )
    return seconds
