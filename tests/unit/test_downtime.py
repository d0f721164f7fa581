"""The gap as a client measures it, against a server of this machine that is switched off and on."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from serve_app import downtime
from serve_app.clock import now_ms
from serve_app.downtime import DowntimeProbe, Gap
from tests.unit.service import until

with warnings.catch_warnings():  # Serve's modules use what pydantic will take away
    warnings.simplefilter("ignore")
    from serve_app.serving import recreation, serve_config
    from serve_app.serving.recreation import Progress


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downtime, "INTERVAL_S", 0.005)
    monkeypatch.setattr(downtime, "STEADY_MS", 100)


class Server:
    """Answers every request with one status, on one port, while it is on.

    Attributes:
        asked: The paths, oldest first.
    """

    def __init__(self) -> None:
        self.status = 200
        self.asked: list[str] = []
        self.port = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def on(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def off(self) -> None:
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    async def answers(self, count: int) -> None:
        """Wait for so many more."""
        enough = len(self.asked) + count
        await until(lambda: len(self.asked) >= enough)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split()[1].decode())
        writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: 0\r\n".encode())
        writer.write(b"Connection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def measuring(server: Server) -> AsyncIterator[DowntimeProbe]:
    await server.on()
    meter = DowntimeProbe(server.url)
    task = asyncio.create_task(meter.run())
    try:
        yield meter
    finally:
        task.cancel()
        await asyncio.wait([task])
        await server.off()


def scenario(play: Callable[[Server, DowntimeProbe], Awaitable[None]]) -> None:
    async def played() -> None:
        server = Server()
        async with measuring(server) as meter:
            await play(server, meter)

    asyncio.run(played())


def test_without_a_failure_there_is_no_gap() -> None:
    async def play(server: Server, meter: DowntimeProbe) -> None:
        await server.answers(20)
        assert (meter.gap, meter.is_back) == (None, False)
        assert set(server.asked) == {"/readyz"}

    scenario(play)


@pytest.mark.parametrize("how", ["off", 503, 404])
def test_a_gap_lasts_from_the_last_good_answer_to_the_next(how: str | int) -> None:
    """A connection that is rejected, the proxy's 404 and a 503 are all the same to a client."""

    async def play(server: Server, meter: DowntimeProbe) -> None:
        await server.answers(3)
        gone_ms = now_ms()
        if isinstance(how, int):
            server.status = how
        else:
            await server.off()
        await asyncio.sleep(0.15)  # the gap that is to be measured
        assert (meter.gap, meter.is_back) == (None, False)
        back_ms = now_ms()
        if isinstance(how, int):
            server.status = 200
        else:
            await server.on()
        await until(lambda: meter.gap is not None)
        known_ms = now_ms()
        assert meter.gap
        assert meter.gap.from_ms <= gone_ms + 20
        assert back_ms <= meter.gap.to_ms <= known_ms
        assert 0.13 <= meter.gap.seconds < 5
        assert not meter.is_back
        await until(lambda: meter.is_back)
        assert now_ms() - meter.gap.to_ms >= 100

    scenario(play)


def test_a_service_that_fails_once_more_was_not_back() -> None:
    """One gap from the first failure to the last, as the users met it."""

    async def play(server: Server, meter: DowntimeProbe) -> None:
        await server.answers(3)
        server.status = 503
        await server.answers(3)
        server.status = 200
        await until(lambda: meter.gap is not None)
        first = meter.gap
        server.status = 503
        await until(lambda: meter.gap is None)
        assert not meter.is_back
        server.status = 200
        await until(lambda: meter.is_back)
        assert first
        assert meter.gap
        assert meter.gap.from_ms == first.from_ms
        assert meter.gap.to_ms > first.to_ms

    scenario(play)


def test_it_is_away_while_it_does_not_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downtime, "TIMEOUT_S", 0.05)

    async def play() -> None:
        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.set()
            await reader.read()
            writer.close()

        asked = asyncio.Event()
        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        meter = DowntimeProbe(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        task = asyncio.create_task(meter.run())
        await asked.wait()
        await until(lambda: meter._from_ms is not None)
        assert (meter.gap, meter.is_back) == (None, False)
        task.cancel()
        await asyncio.wait([task])
        server.close()
        await server.wait_closed()

    asyncio.run(play())


def test_a_gap_is_told_in_seconds() -> None:
    assert Gap(1_000, 4_250).seconds == 3.25


def recreate(host: str) -> Progress:
    """A recreation on this host, by a Serve that does at once what it is told."""
    document = {"http_options": {"host": host, "port": 8000}, "applications": []}
    return asyncio.run(recreation.recreate(document, "v2", 3, lambda _: None))


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_config, "details", lambda: {"applications": {}})
    monkeypatch.setattr(serve_config, "deploy", lambda _: None)
    monkeypatch.setattr(recreation, "POLL_S", 0.001)
    monkeypatch.setattr(recreation, "BUILT_S", 5)


@pytest.mark.usefixtures("serve")
@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/readyz"),
        ("0.0.0.0", "http://127.0.0.1:8000/readyz"),  # noqa: S104
        ("::", "http://[::1]:8000/readyz"),
        ("::1", "http://[::1]:8000/readyz"),
    ],
)
def test_a_recreation_is_measured_whatever_the_host(
    monkeypatch: pytest.MonkeyPatch, host: str, url: str
) -> None:
    asked: list[str] = []

    async def get(_: httpx.AsyncClient, url: str) -> httpx.Response:
        asked.append(str(httpx.URL(url)))
        return httpx.Response(503 if len(asked) == 1 else 200)

    monkeypatch.setattr(httpx.AsyncClient, "get", get)
    assert recreate(host).state == "done"
    assert set(asked) == {url}


@pytest.mark.usefixtures("serve")
def test_a_meter_that_fails_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def get(_: httpx.AsyncClient, url: str) -> httpx.Response:
        raise httpx.InvalidURL(f"{url} leads nowhere")

    monkeypatch.setattr(httpx.AsyncClient, "get", get)
    ended = recreate("127.0.0.1")
    assert (ended.state, ended.message) == (
        "failed",
        "http://127.0.0.1:8000/readyz leads nowhere",
    )


def test_a_data_plane_that_will_not_go_is_replaced_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else there would be none, and nobody to build it."""
    sent: list[list[str]] = []
    here = {"applications": {"animals": {"status": "DELETING"}}}
    monkeypatch.setattr(serve_config, "details", lambda: here)
    monkeypatch.setattr(serve_config, "parse", lambda document: document)
    monkeypatch.setattr(
        serve_config, "deploy", lambda d: sent.append([a["name"] for a in d["applications"]])
    )
    monkeypatch.setattr(recreation, "TORN_DOWN_S", 0.05)
    monkeypatch.setattr(recreation, "POLL_S", 0.001)
    applications = [{"name": "animals"}, {"name": "control"}]
    document = {"http_options": {"host": "127.0.0.1", "port": 8000}, "applications": applications}
    ended = asyncio.run(recreation.recreate(document, "v2", 3, lambda _: None))
    assert sent == [["control"], ["animals", "control"]]
    assert ended.state == "failed"
    assert ended.message == (
        "the old data plane was not gone after 0.05 s; the new one is deployed over it, and nothing"
        " was measured"
    )


@pytest.mark.usefixtures("serve")
def test_nobody_is_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def get(_: httpx.AsyncClient, url: str) -> httpx.Response:
        return httpx.Response(503)

    monkeypatch.setattr(httpx.AsyncClient, "get", get)
    monkeypatch.setattr(recreation, "BUILT_S", 0.05)
    ended = recreate("127.0.0.1")
    assert ended.state == "failed"
    assert ended.message == (
        "nobody was answered for 0.05 s: serve-app revision restore puts an earlier one back"
    )
