"""The time limit of a client, and the headers of every response."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from serve_app.http.request_tracing import TIMEOUT_S, RequestTracing
from serve_app.trace import Trace
from tests.unit.service import Service, image, send_request


class TestTimeLimit:
    def send(self, service: Service, limit_s: float | None, path: str = "/v1/classify") -> Any:
        async def limited(scope: Scope, receive: Receive, send: Send) -> None:
            await service.app({**scope, TIMEOUT_S: limit_s}, receive, send)

        headers = {"content-type": "image/png"}
        return service.run(send_request(limited, "POST", path, content=image(), headers=headers))

    def test_a_request_that_exceeds_it_is_a_problem(self, service: Service) -> None:
        service.pools.overrides["v1"] = asyncio.Event()  # never set
        response = self.send(service, 0.01)
        assert (response.status_code, response.json()["code"]) == (504, "too_slow")
        assert "X-Request-Timeout-Seconds" in response.json()["detail"]
        assert (service.traces[-1].status, service.traces[-1].error) == (504, "too_slow")

    @pytest.mark.parametrize("limit_s", [None, 60.0, 1e300])
    def test_a_request_within_it_is_answered(self, service: Service, limit_s: float | None) -> None:
        assert self.send(service, limit_s).status_code == 200

    def test_a_response_that_has_begun_is_not_mixed_with_a_problem(self) -> None:
        traces: list[Trace] = []

        async def chunks() -> Any:
            yield b"begun"
            await asyncio.Event().wait()

        async def limited(scope: Scope, receive: Receive, send: Send) -> None:
            await RequestTracing(StreamingResponse(chunks()), traces.append)(
                {**scope, TIMEOUT_S: 0.01}, receive, send
            )

        with pytest.raises(TimeoutError):
            asyncio.run(send_request(limited, "GET", "/"))
        assert traces[-1].status == 200


@pytest.mark.parametrize(
    ("method", "path", "cache_control"),
    [
        ("GET", "/v1/rule", "no-store"),
        ("GET", "/nothing", "no-store"),
        ("PATCH", "/v1/rule", "no-store"),
        ("OPTIONS", "/v1/rule", "no-store"),
        ("POST", "/v1/classify", "no-store"),
        ("GET", "/", "no-store"),
        ("GET", "/static/home.js", "no-cache"),
    ],
)
def test_every_response_says_how_to_read_and_cache_it(
    service: Service, method: str, path: str, cache_control: str
) -> None:
    response = service.run(send_request(service.app, method, path))
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == cache_control


def test_a_static_file_is_not_sent_twice(service: Service) -> None:
    first = service.run(send_request(service.app, "GET", "/static/home.js"))
    second = service.run(
        send_request(
            service.app, "GET", "/static/home.js", headers={"if-none-match": first.headers["etag"]}
        )
    )
    assert (second.status_code, second.content) == (304, b"")


@pytest.mark.parametrize("path", ["/", "/nothing", "/v1/rule/"])
def test_bytes_in_the_query_are_no_error_of_the_service(service: Service, path: str) -> None:
    """As a client sends them that does not percent-encode."""

    async def raw(scope: Scope, receive: Receive, send: Send) -> None:
        await service.app({**scope, "query_string": b"a=%20&b=\xff"}, receive, send)

    response = service.run(send_request(raw, "GET", path))
    assert response.status_code < 500
    if response.is_redirect:
        assert response.headers["location"] == "/v1/rule?a=%20&b=%FF"
