"""The downtime probe, against a local server that stops and starts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from serve_app import refused_requests
from serve_app.clock import now_ms
from serve_app.control_plane import downtime
from serve_app.control_plane.downtime import DowntimeProbe
from tests.unit.service import wait_until


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
        assert (probe.down_from_ms, probe.down_to_ms, probe.is_back) == (None, None, False)
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
        assert (probe.down_to_ms, probe.is_back) == (None, False)
        restarted_ms = now_ms()
        if isinstance(failure, int):
            server.status = 200
        else:
            await server.start()
        await wait_until(lambda: probe.down_to_ms is not None)
        measured_ms = now_ms()
        assert probe.down_from_ms
        assert probe.down_to_ms
        assert probe.down_from_ms <= stopped_ms + 20
        assert restarted_ms <= probe.down_to_ms <= measured_ms
        assert not probe.is_back
        await wait_until(lambda: probe.is_back)
        assert now_ms() - probe.down_to_ms >= 100

    scenario(play)


def test_another_failure_extends_the_downtime() -> None:
    """The downtime lasts from the first failure to the last."""

    async def play(server: Server, probe: DowntimeProbe) -> None:
        await server.wait_for_requests(3)
        server.status = 503
        await server.wait_for_requests(3)
        server.status = 200
        await wait_until(lambda: probe.down_to_ms is not None)
        first_from_ms, first_to_ms = probe.down_from_ms, probe.down_to_ms
        server.status = 503
        await wait_until(lambda: probe.down_to_ms is None)
        assert not probe.is_back
        server.status = 200
        await wait_until(lambda: probe.is_back)
        assert first_to_ms
        assert probe.down_to_ms
        assert probe.down_from_ms == first_from_ms
        assert probe.down_to_ms > first_to_ms

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
        await wait_until(lambda: probe.down_from_ms is not None)
        assert (probe.down_to_ms, probe.is_back) == (None, False)
        task.cancel()
        await asyncio.wait([task])
        server.close()
        await server.wait_closed()

    asyncio.run(play())


def test_a_service_that_was_known_to_be_down_is_measured_from_then() -> None:
    """A restarted Controller does not see the first failure."""

    async def play() -> None:
        server = Server()
        await server.start()
        probe = DowntimeProbe(server.url, down_from_ms=5_000)
        task = asyncio.create_task(probe.run())
        await wait_until(lambda: probe.is_back)
        assert probe.down_from_ms == 5_000
        assert (probe.down_to_ms or 0) > 5_000
        task.cancel()
        await server.stop()

    asyncio.run(play())


def test_a_service_that_was_ready_before_is_down_since_then_at_the_earliest() -> None:
    async def play() -> None:
        server = Server()
        server.status = 503
        await server.start()
        probe = DowntimeProbe(server.url, last_success_ms=5_000)
        task = asyncio.create_task(probe.run())
        await wait_until(lambda: probe.down_from_ms is not None)
        assert (probe.down_from_ms, probe.down_to_ms) == (5_000, None)
        task.cancel()
        await server.stop()

    asyncio.run(play())


def test_refused_requests_are_counted_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = tmp_path / refused_requests.FILE
    refused.write_text("..")
    monkeypatch.setenv(refused_requests.FOLDER_VARIABLE, str(tmp_path))
    probe = DowntimeProbe("http://x")
    refused.write_text(".....")
    assert probe.refused_requests == 3


def test_without_our_proxy_the_refused_requests_are_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(refused_requests.FOLDER_VARIABLE, raising=False)
    assert DowntimeProbe("http://x").refused_requests is None
