"""Client disconnects during a slow request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from serve_app.data_plane.pools import LATE_S
from serve_app.errors import Busy
from serve_app.http.disconnects import cancel_on_disconnect
from tests.unit.recording.fakes import VirtualTimeLoop, run
from tests.unit.service import Service, image


class Client:
    """Disconnects after a time; never if the time is None."""

    def __init__(self, disconnects_after_s: float | None) -> None:
        self.receive_calls = 0
        self._disconnects_after_s = disconnects_after_s

    async def receive(self) -> Message:
        self.receive_calls += 1
        if self._disconnects_after_s is None:
            await asyncio.Event().wait()
        await asyncio.sleep(self._disconnects_after_s or 0)
        return {"type": "http.disconnect"}


def serve(client: Client, work_s: float, failure: Exception | None = None) -> tuple[Any, float]:
    """The outcome of a request that takes `work_s`, and the time of the outcome in seconds."""

    async def request() -> str:
        async with cancel_on_disconnect(client.receive):
            await asyncio.sleep(work_s)
            if failure:
                raise failure
        return "response"

    async def scenario() -> tuple[Any, float]:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(request())
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        after_s = loop.time()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "the watcher still runs"
        return outcome, after_s

    return run(scenario())


def test_a_fast_request_is_not_watched() -> None:
    client = Client(disconnects_after_s=0.0)
    assert serve(client, work_s=LATE_S / 2) == ("response", LATE_S / 2)
    assert client.receive_calls == 0


def test_a_connected_client_gets_its_late_response() -> None:
    assert serve(Client(disconnects_after_s=None), work_s=10.0) == ("response", 10.0)


def test_a_disconnect_cancels_the_request() -> None:
    outcome, after_s = serve(Client(disconnects_after_s=1.0), work_s=10.0)
    assert isinstance(outcome, ClientDisconnect)
    assert after_s == LATE_S + 1.0


def test_another_cancellation_is_not_a_disconnect() -> None:
    async def scenario() -> None:
        task = asyncio.current_task()
        assert task
        async with cancel_on_disconnect(Client(disconnects_after_s=None).receive):
            task.cancel()
            await asyncio.sleep(10.0)

    with pytest.raises(asyncio.CancelledError):
        run(scenario())


def test_a_late_error_is_raised_unchanged() -> None:
    outcome, after_s = serve(Client(disconnects_after_s=None), 10.0, Busy("full"))
    assert isinstance(outcome, Busy)
    assert after_s == 10.0


@pytest.mark.parametrize(
    "path", ["/v1/classify", "/v2/models/animals/infer"], ids=["classify", "infer"]
)
def test_a_disconnect_is_traced_and_recorded_as_an_error_of_the_version(
    tmp_path: Any, path: str
) -> None:
    with Service(tmp_path, loop=VirtualTimeLoop) as service:
        service.pools.overrides["v1"] = asyncio.Event()
        messages: list[Message] = [{"type": "http.request", "body": body(path)}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await asyncio.sleep(1.0)
            return {"type": "http.disconnect"}

        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def disconnect() -> None:
            scope = {
                "type": "http",
                "method": "POST",
                "path": path,
                "query_string": b"",
                "headers": [(b"content-type", b"image/png"), (b"x-user-id", b"anna")],
            }
            await service.app(scope, receive, send)

        service.run(disconnect())
        assert [message.get("status") for message in sent] == [499, None], "for Serve's metrics"
        (trace,) = service.traces
        assert (trace.status, trace.error, trace.images) == (499, "client_gone", 1)
        (exposure,) = service.exposures()
        assert (exposure.served, exposure.error) == (None, "client_gone")


def body(path: str) -> bytes:
    if path == "/v1/classify":
        return image("cat")
    return (
        b'{"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 1, 3],'
        b' "data": [1, 2, 3]}]}'
    )
