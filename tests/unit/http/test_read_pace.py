"""Reads wait for their turn."""

from __future__ import annotations

import asyncio

import pytest

from serve_app.errors import Busy
from serve_app.http import read_pace
from serve_app.http.read_pace import BURST, MAX_WAIT_S, READS_PER_S, ReadPace
from tests.unit.recording.fakes import run
from tests.unit.service import Service


def test_a_burst_is_answered_at_once_and_then_one_read_after_the_other() -> None:
    async def scenario() -> list[float]:
        pace, loop = ReadPace(), asyncio.get_running_loop()

        async def read() -> float:
            await pace.wait()
            return loop.time()

        return list(await asyncio.gather(*(read() for _ in range(3 * BURST))))

    times_s = run(scenario())
    assert times_s[:BURST] == [0] * BURST
    assert times_s == sorted(times_s)
    assert abs(times_s[-1] - 2 * BURST / READS_PER_S) < 0.02


def test_a_client_that_polls_slowly_never_waits() -> None:
    async def scenario() -> None:
        pace, loop = ReadPace(), asyncio.get_running_loop()
        for _ in range(5 * BURST):
            before_s = loop.time()
            await pace.wait()
            assert loop.time() == before_s
            await asyncio.sleep(1 / READS_PER_S)

    run(scenario())


def test_a_read_that_would_wait_too_long_is_refused_and_takes_no_turn() -> None:
    async def scenario() -> None:
        pace = ReadPace()
        most = BURST + round(READS_PER_S * MAX_WAIT_S)
        results = await asyncio.gather(
            *(pace.wait() for _ in range(most + 50)), return_exceptions=True
        )
        assert [type(result) for result in results[most:]] == [Busy] * 50
        await pace.wait()

    run(scenario())


def test_reads_of_the_replicas_are_paced(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_pace, "MAX_WAIT_S", -2.0)
    for path in ("/v1/rule", "/v1/explain", "/v1/models", "/v1/models/v1"):
        response = service.request("GET", path)
        assert (response.status_code, response.json()["code"]) == (429, "busy")
    for path in ("/healthz", "/readyz"):  # a gateway must not take an ingress for dead
        assert service.request("GET", path).status_code == 200
