"""A client that hangs up while its answer is late."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from serve_app.data_plane.pools import LATE_S
from serve_app.errors import Busy
from serve_app.http.disconnects import cancelled_on_disconnect
from tests.unit.recording.fakes import JumpingLoop, run
from tests.unit.service import Service, image


class Client:
    """Hangs up after a time; never, if that is None."""

    def __init__(self, leaves_after_s: float | None) -> None:
        self.asked = 0
        self._leaves_after_s = leaves_after_s

    async def receive(self) -> Message:
        self.asked += 1
        if self._leaves_after_s is None:
            await asyncio.Event().wait()
        await asyncio.sleep(self._leaves_after_s or 0)
        return {"type": "http.disconnect"}


def answered(client: Client, work_s: float, failure: Exception | None = None) -> tuple[Any, float]:
    """What becomes of a request whose answer takes `work_s`, and when."""

    async def request() -> str:
        async with cancelled_on_disconnect(client.receive):
            await asyncio.sleep(work_s)
            if failure:
                raise failure
        return "answered"

    async def play() -> tuple[Any, float]:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(request())
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        after_s = loop.time()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "a watch stays"
        return outcome, after_s

    return run(play())


def test_an_answer_in_time_is_not_watched_for() -> None:
    client = Client(leaves_after_s=0.0)
    assert answered(client, work_s=LATE_S / 2) == ("answered", LATE_S / 2)
    assert client.asked == 0


def test_a_client_that_stays_gets_its_late_answer() -> None:
    assert answered(Client(leaves_after_s=None), work_s=10.0) == ("answered", 10.0)


def test_work_for_a_client_that_has_left_is_cancelled() -> None:
    outcome, after_s = answered(Client(leaves_after_s=1.0), work_s=10.0)
    assert isinstance(outcome, ClientDisconnect)
    assert after_s == LATE_S + 1.0


def test_a_cancellation_by_somebody_else_stays_one() -> None:
    async def play() -> None:
        task = asyncio.current_task()
        assert task
        async with cancelled_on_disconnect(Client(leaves_after_s=None).receive):
            task.cancel()
            await asyncio.sleep(10.0)

    with pytest.raises(asyncio.CancelledError):
        run(play())


def test_a_late_failure_is_raised_as_it_is() -> None:
    outcome, after_s = answered(Client(leaves_after_s=None), 10.0, Busy("full"))
    assert isinstance(outcome, Busy)
    assert after_s == 10.0


@pytest.mark.parametrize(
    "path", ["/v1/classify", "/v2/models/animals/infer"], ids=["classify", "infer"]
)
def test_a_client_that_leaves_is_traced_and_counts_as_a_failure_of_its_version(
    tmp_path: Any, path: str
) -> None:
    with Service(tmp_path, loop=JumpingLoop) as service:
        service.pools.fates["v1"] = asyncio.Event()
        messages: list[Message] = [{"type": "http.request", "body": body(path)}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await asyncio.sleep(1.0)
            return {"type": "http.disconnect"}

        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def hang_up() -> None:
            scope = {
                "type": "http",
                "method": "POST",
                "path": path,
                "query_string": b"",
                "headers": [(b"content-type", b"image/png"), (b"x-user-id", b"anna")],
            }
            await service.app(scope, receive, send)

        service.run(hang_up())
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
