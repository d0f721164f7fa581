"""Tests of the downtime probe, against a local server that stops and starts, and of recreation."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from serve_app import downtime
from serve_app.clock import now_ms
from serve_app.downtime import Downtime, DowntimeProbe
from tests.unit.service import wait_until

with warnings.catch_warnings():  # Serve uses deprecated features of pydantic
    warnings.simplefilter("ignore")
    from serve_app.serving import recreation, serve_config
    from serve_app.serving.recreation import Progress


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downtime, "INTERVAL_S", 0.005)
    monkeypatch.setattr(downtime, "STEADY_MS", 100)


class Server:
    """A server that responds to every request with one status.

    Attributes:
        requested: The paths of the requests, oldest first.
    """

    def __init__(self) -> None:
        self.status = 200
        self.requested: list[str] = []
        self.port = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._respond, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    async def wait_for_requests(self, count: int) -> None:
        """Wait for `count` more requests."""
        total = len(self.requested) + count
        await wait_until(lambda: len(self.requested) >= total)

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requested.append(head.split()[1].decode())
        writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: 0\r\n".encode())
        writer.write(b"Connection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def run_probe(server: Server) -> AsyncIterator[DowntimeProbe]:
    await server.start()
    probe = DowntimeProbe(server.url)
    task = asyncio.create_task(probe.run())
    try:
        yield probe
    finally:
        task.cancel()
        await asyncio.wait([task])
        await server.stop()


def scenario(play: Callable[[Server, DowntimeProbe], Awaitable[None]]) -> None:
    async def play_with_probe() -> None:
        server = Server()
        async with run_probe(server) as probe:
            await play(server, probe)

    asyncio.run(play_with_probe())


def test_without_a_failure_there_is_no_downtime() -> None:
    async def play(server: Server, probe: DowntimeProbe) -> None:
        await server.wait_for_requests(20)
        assert (probe.downtime, probe.is_back) == (None, False)
        assert set(server.requested) == {"/readyz"}

    scenario(play)


@pytest.mark.parametrize("failure", ["stop", 503, 404])
def test_a_downtime_lasts_from_the_last_success_to_the_next(failure: str | int) -> None:
    """A refused connection, a 404 of the proxy and a 503 all count as failures."""

    async def play(server: Server, probe: DowntimeProbe) -> None:
        await server.wait_for_requests(3)
        stopped_ms = now_ms()
        if isinstance(failure, int):
            server.status = failure
        else:
            await server.stop()
        await asyncio.sleep(0.15)  # the downtime
        assert (probe.downtime, probe.is_back) == (None, False)
        restarted_ms = now_ms()
        if isinstance(failure, int):
            server.status = 200
        else:
            await server.start()
        await wait_until(lambda: probe.downtime is not None)
        measured_ms = now_ms()
        assert probe.downtime
        assert probe.downtime.from_ms <= stopped_ms + 20
        assert restarted_ms <= probe.downtime.to_ms <= measured_ms
        assert 0.13 <= probe.downtime.seconds < 5
        assert not probe.is_back
        await wait_until(lambda: probe.is_back)
        assert now_ms() - probe.downtime.to_ms >= 100

    scenario(play)


def test_another_failure_extends_the_downtime() -> None:
    """The downtime lasts from the first failure to the last."""

    async def play(server: Server, probe: DowntimeProbe) -> None:
        await server.wait_for_requests(3)
        server.status = 503
        await server.wait_for_requests(3)
        server.status = 200
        await wait_until(lambda: probe.downtime is not None)
        first = probe.downtime
        server.status = 503
        await wait_until(lambda: probe.downtime is None)
        assert not probe.is_back
        server.status = 200
        await wait_until(lambda: probe.is_back)
        assert first
        assert probe.downtime
        assert probe.downtime.from_ms == first.from_ms
        assert probe.downtime.to_ms > first.to_ms

    scenario(play)


def test_a_timeout_is_downtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downtime, "TIMEOUT_S", 0.05)

    async def play() -> None:
        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            requested.set()
            await reader.read()
            writer.close()

        requested = asyncio.Event()
        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        probe = DowntimeProbe(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        task = asyncio.create_task(probe.run())
        await requested.wait()
        await wait_until(lambda: probe._from_ms is not None)
        assert (probe.downtime, probe.is_back) == (None, False)
        task.cancel()
        await asyncio.wait([task])
        server.close()
        await server.wait_closed()

    asyncio.run(play())


def test_a_downtime_has_a_duration_in_seconds() -> None:
    assert Downtime(1_000, 4_250).seconds == 3.25


def recreate(host: str) -> Progress:
    """The result of a recreation with a fake Serve that deploys at once."""
    document = {"http_options": {"host": host, "port": 8000}, "applications": []}
    return asyncio.run(recreation.recreate(document, "v2", 3, lambda _: None))


@pytest.fixture
def fake_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_config, "details", lambda: {"applications": {}})
    monkeypatch.setattr(serve_config, "deploy", lambda _: None)
    monkeypatch.setattr(recreation, "POLL_S", 0.001)
    monkeypatch.setattr(recreation, "BUILD_TIMEOUT_S", 5)


@pytest.mark.usefixtures("fake_serve")
@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/readyz"),
        ("0.0.0.0", "http://127.0.0.1:8000/readyz"),  # noqa: S104
        ("::", "http://[::1]:8000/readyz"),
        ("::1", "http://[::1]:8000/readyz"),
    ],
)
def test_the_downtime_of_a_recreation_is_measured_on_any_host(
    monkeypatch: pytest.MonkeyPatch, host: str, url: str
) -> None:
    requested: list[str] = []

    async def get(_: httpx.AsyncClient, url: str) -> httpx.Response:
        requested.append(str(httpx.URL(url)))
        return httpx.Response(503 if len(requested) == 1 else 200)

    monkeypatch.setattr(httpx.AsyncClient, "get", get)
    assert recreate(host).state == "done"
    assert set(requested) == {url}


@pytest.mark.usefixtures("fake_serve")
def test_a_failing_probe_fails_the_recreation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def get(_: httpx.AsyncClient, url: str) -> httpx.Response:
        raise httpx.InvalidURL(f"{url} is invalid")

    monkeypatch.setattr(httpx.AsyncClient, "get", get)
    progress = recreate("127.0.0.1")
    assert (progress.state, progress.message) == (
        "failed",
        "http://127.0.0.1:8000/readyz is invalid",
    )


def test_a_data_plane_that_is_not_deleted_in_time_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise there would be no data plane."""
    deployed: list[list[str]] = []
    status = {"applications": {"animals": {"status": "DELETING"}}}
    monkeypatch.setattr(serve_config, "details", lambda: status)
    monkeypatch.setattr(serve_config, "parse", lambda document: document)
    monkeypatch.setattr(
        serve_config, "deploy", lambda d: deployed.append([a["name"] for a in d["applications"]])
    )
    monkeypatch.setattr(recreation, "DELETE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(recreation, "POLL_S", 0.001)
    applications = [{"name": "animals"}, {"name": "control"}]
    document = {"http_options": {"host": "127.0.0.1", "port": 8000}, "applications": applications}
    progress = asyncio.run(recreation.recreate(document, "v2", 3, lambda _: None))
    assert deployed == [["control"], ["animals", "control"]]
    assert progress.state == "failed"
    assert progress.message == (
        "the old data plane was not deleted within 0.05 s: the new one is deployed over it, without"
        " measuring the downtime"
    )


@pytest.mark.usefixtures("fake_serve")
def test_a_data_plane_that_is_not_ready_in_time_fails_the_recreation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def get(_: httpx.AsyncClient, url: str) -> httpx.Response:
        return httpx.Response(503)

    monkeypatch.setattr(httpx.AsyncClient, "get", get)
    monkeypatch.setattr(recreation, "BUILD_TIMEOUT_S", 0.05)
    progress = recreate("127.0.0.1")
    assert progress.state == "failed"
    assert progress.message == (
        "the data plane was not ready within 0.05 s: serve-app revision restore goes back to an"
        " earlier revision"
    )
