"""The header guard, which runs before Serve reads headers."""

from __future__ import annotations

import asyncio
import math
import warnings
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from serve_app.http.disconnects import NO_SERVE_DETECTION
from serve_app.http.header_guard import middlewares
from serve_app.http.problems import PROBLEM_TYPE
from serve_app.http.request_tracing import TIMEOUT_S
from tests.unit.service import send_request

with warnings.catch_warnings():  # Serve's modules use deprecated pydantic APIs
    warnings.simplefilter("ignore")
    from ray.serve._private import http_util
    from ray.serve._private.constants import SERVE_MULTIPLEXED_MODEL_ID

LATIN = b"Zo\xeb"  # not UTF-8
Headers = list[tuple[bytes, bytes]]


class Guarded:
    """An application behind the guard.

    Attributes:
        scope: Of the last request that passed.
    """

    def __init__(self, response: Response | None = None) -> None:
        self.scope: Scope | None = None
        self._response = response or Response("inside")
        (middleware,) = middlewares()
        self.app: Any = middleware.cls(self._inner, *middleware.args, **middleware.kwargs)

    def get(self, *headers: tuple[bytes, bytes], path: str = "/") -> httpx.Response:
        return asyncio.run(send_request(self.app, "GET", path, headers=list(headers)))

    def passed(self, *headers: tuple[bytes, bytes]) -> Headers:
        """The headers of these that the application receives."""
        assert self.get(*headers).text == "inside"
        assert self.scope
        names = {name for name, _ in headers}
        return [(name, value) for name, value in self.scope["headers"] if name in names]

    async def _inner(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        await self._response(scope, receive, send)


def serve_reads(headers: Headers) -> None:
    """Decode the headers as `Replica._direct_ingress_asgi` of Serve does."""
    by_name = dict(headers)
    by_name.get(b"x-request-id", b"").decode()
    http_util.parse_disconnect_disabled_header(by_name)
    http_util.parse_request_timeout_header(by_name, None)
    http_util.parse_session_id_header(by_name)
    for name, value in headers:
        if name.decode().replace("-", "_") in (
            SERVE_MULTIPLEXED_MODEL_ID,
            "traceparent",
            "tracestate",
        ):
            value.decode()


NAMES = [
    b"x-request-id",
    b"x-session-id",
    b"x_session_id",
    b"x-session_id",
    b"serve_multiplexed_model_id",
    b"serve-multiplexed-model-id",
    b"serve-multiplexed_model-id",
    b"x-request-timeout-seconds",
    b"x-request-disconnect-disabled",
    b"traceparent",
    b"tracestate",
    b"x-user-id",
]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=20)), max_size=4))
def test_serve_can_read_whatever_passes(headers: Headers) -> None:
    guarded = Guarded()

    async def drop(_: Message) -> None:
        """Ignore the response."""

    scope = {"type": "http", "method": "GET", "path": "/", "headers": list(headers)}
    asyncio.run(guarded.app(scope, None, drop))
    if guarded.scope:
        serve_reads(guarded.scope["headers"])


@pytest.mark.parametrize("name", [b"x-request-id", b"x-session-id", b"x_session_id"])
def test_an_undecodable_header_is_rejected(name: bytes) -> None:
    rejected = Guarded().get((name, LATIN))
    assert (rejected.status_code, rejected.json()["code"]) == (400, "bad_header")
    assert rejected.headers["content-type"] == PROBLEM_TYPE
    assert rejected.headers["x-request-id"]
    assert rejected.headers["x-content-type-options"] == "nosniff"
    assert "is not UTF-8" in rejected.json()["detail"]


@pytest.mark.parametrize(
    "header",
    [
        (b"serve_multiplexed_model_id", b"v2"),
        (b"serve-multiplexed-model-id", LATIN),
        (b"x-request-disconnect-disabled", b"?1"),
        (b"x-request-disconnect-disabled", LATIN),
        (b"traceparent", LATIN),
        (b"x-request-id", b""),
    ],
)
def test_an_order_to_serve_or_a_meaningless_header_is_dropped(header: tuple[bytes, bytes]) -> None:
    assert Guarded().passed(header) == []


@pytest.mark.parametrize(
    "header",
    [
        (b"x-request-id", "é".encode()),
        (b"x-session-id", "é".encode()),
        (b"x-user-id", LATIN),
        (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ],
)
def test_other_headers_pass(header: tuple[bytes, bytes]) -> None:
    assert Guarded().passed(header) == [header]


class TestTimeLimit:
    @pytest.mark.parametrize(
        ("value", "seconds"), [(b"30", 30.0), (b"0.001", 0.001), (b"5e-1", 0.5), (b" 2 ", 2.0)]
    )
    def test_it_is_kept_from_serve(self, value: bytes, seconds: float) -> None:
        guarded = Guarded()
        assert guarded.passed((b"x-request-timeout-seconds", value)) == []
        assert guarded.scope
        assert guarded.scope[TIMEOUT_S] == seconds

    def test_by_default_there_is_none(self) -> None:
        guarded = Guarded()
        guarded.get()
        assert guarded.scope
        assert guarded.scope[TIMEOUT_S] is None

    @pytest.mark.parametrize(
        "value",
        [
            b"",
            b"0",
            b"-0",
            b"-1",
            b"nan",
            b"inf",
            b"1e999",
            b"5s",
            b"1_0",
            b"1,5",
            LATIN,
            "٣".encode(),
        ],
    )
    def test_another_value_is_rejected(self, value: bytes) -> None:
        rejected = Guarded().get((b"x-request-timeout-seconds", value))
        assert (rejected.status_code, rejected.json()["code"]) == (400, "bad_header")
        assert "send a positive number of seconds" in rejected.json()["detail"]

    @given(st.binary(max_size=10))
    def test_whatever_passes_is_finite_and_positive(self, value: bytes) -> None:
        guarded = Guarded()
        if guarded.get((b"x-request-timeout-seconds", value.strip(b"\r\n\0"))).is_success:
            assert guarded.scope
            assert 0 < guarded.scope[TIMEOUT_S] < math.inf


class TestErrorsOfServe:
    @pytest.mark.parametrize(
        ("sent", "status", "code"),
        [
            (404, 503, "not_ready"),
            (408, 504, "too_slow"),
            (429, 429, "busy"),
            (500, 500, "internal"),
            (503, 503, "not_ready"),
        ],
    )
    def test_plain_text_becomes_a_problem(self, sent: int, status: int, code: str) -> None:
        of_serve = Response("Request 1f timed out.", sent, {"X-Request-ID": "1f"}, "text/plain")
        response = Guarded(of_serve).get()
        assert (response.status_code, response.json()["code"]) == (status, code)
        assert response.headers["content-type"] == PROBLEM_TYPE
        assert response.headers["x-request-id"] == "1f"
        assert int(response.headers["content-length"]) == len(response.content)

    @pytest.mark.parametrize(
        ("path", "status", "media_type"),
        [
            ("/", 408, PROBLEM_TYPE),
            ("/", 404, PROBLEM_TYPE),
            ("/", 200, "text/plain"),
            ("/-/healthz", 503, "text/plain"),
        ],
    )
    def test_other_responses_pass(self, path: str, status: int, media_type: str) -> None:
        response = Guarded(Response("{}", status, media_type=media_type)).get(path=path)
        assert (response.status_code, response.text) == (status, "{}")


def test_a_websocket_is_refused_before_serve_reads_its_headers() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    guarded = Guarded()
    scope = {"type": "websocket", "path": "/", "headers": [(b"x-session-id", LATIN)]}
    asyncio.run(guarded.app(scope, None, send))
    assert guarded.scope is None
    assert sent[0]["type"] == "websocket.http.response.start"
    assert sent[0]["status"] == 400


@pytest.mark.parametrize(
    ("path", "has_own_detection"),
    [
        ("/v1/classify", True),
        ("/v2/models/animals/infer", True),
        ("/v2/models/animals/versions/v1/infer", True),
        ("/v1/feedback", False),
        ("/control/review", False),
    ],
)
def test_serve_detection_is_off_only_for_routes_with_their_own(
    path: str, has_own_detection: bool
) -> None:
    guarded = Guarded()
    guarded.get(path=path)
    assert guarded.scope
    headers = dict(guarded.scope["headers"])
    assert http_util.parse_disconnect_disabled_header(headers) is has_own_detection
    assert (NO_SERVE_DETECTION in guarded.scope["headers"]) is has_own_detection
