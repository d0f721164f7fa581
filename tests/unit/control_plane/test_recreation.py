"""A recreation over a fake cluster; the rest is in test_plane.py."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from serve_app.control_plane import recreation as module
from serve_app.control_plane.downtime import Probe
from serve_app.control_plane.recreation import create_probe, recreate
from serve_app.deployment.address import local_url
from serve_app.errors import NotReady
from serve_app.store.recreations import Phase, Recreation
from tests.fake_cluster import FakeCluster
from tests.unit.control_plane.conftest import FakeProbe, NeverBack, shipped

STARTED = Recreation(3, "v2", Phase.TEARING_DOWN, started_at_ms=500)


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.001)
    for name in ("DELETE_TIMEOUT_S", "BUILD_TIMEOUT_S"):
        monkeypatch.setattr(module, name, 0.05)


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(shipped("base"))


def run(
    cluster: FakeCluster, probe: Probe, recreation: Recreation = STARTED
) -> tuple[Recreation, list[Recreation]]:
    """The end of a recreation, and the progress that it saved."""
    saved: list[Recreation] = []

    async def save(progress: Recreation) -> None:
        saved.append(progress)

    end = asyncio.run(recreate(recreation, shipped("rolling"), cluster, probe, save))
    return end, saved


def names(cluster: FakeCluster) -> list[list[str]]:
    """The applications of each configuration that the cluster got."""
    return [[a["name"] for a in document["applications"]] for document in cluster.deployed]


def test_the_downtime_is_that_of_the_probe(cluster: FakeCluster) -> None:
    end, saved = run(cluster, FakeProbe("", STARTED))
    assert (end.phase, end.downtime_s, end.message) == (Phase.DONE, 8.43, "")
    assert [progress.phase for progress in saved] == [Phase.BUILDING]
    assert saved[0].down_from_ms == 1_000
    assert names(cluster) == [["control"], ["animals", "control"]]


def test_a_recreation_that_was_building_does_not_tear_down_again(cluster: FakeCluster) -> None:
    end, saved = run(cluster, FakeProbe("", STARTED), replace(STARTED, phase=Phase.BUILDING))
    assert (end.phase, saved) == (Phase.DONE, [])
    assert names(cluster) == [["animals", "control"]]


def test_a_data_plane_that_is_not_deleted_in_time_is_replaced(cluster: FakeCluster) -> None:
    """Otherwise there would be no data plane."""
    cluster.deletes_slowly = True
    end, _ = run(cluster, FakeProbe("", STARTED))
    assert names(cluster) == [["control"], ["animals", "control"]]
    assert (end.phase, end.downtime_s) == (Phase.FAILED, None)
    assert end.message == (
        "the old data plane was not deleted within 0.05 s: the new one is deployed over it, without"
        " measuring the downtime"
    )


def test_a_data_plane_that_is_not_ready_in_time_fails_the_recreation(cluster: FakeCluster) -> None:
    end, _ = run(cluster, NeverBack())
    assert (end.phase, end.down_from_ms, end.down_to_ms) == (Phase.FAILED, 1_000, None)
    assert end.message == (
        "the data plane was not ready within 0.05 s: serve-app revision restore goes back to an"
        " earlier revision"
    )


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_serve_controller_that_restarts_is_waited_for(
    cluster: FakeCluster, failures: int
) -> None:
    cluster.failures = [NotReady("restarting")] * failures
    end, _ = run(cluster, FakeProbe("", STARTED))
    assert end.phase is Phase.DONE
    assert names(cluster) == [["control"], ["animals", "control"]]


def test_a_failing_probe_fails_the_recreation(cluster: FakeCluster) -> None:
    class Broken(NeverBack):
        async def run(self) -> None:
            raise httpx.InvalidURL("http://:x is invalid")

    end, _ = run(cluster, Broken())
    assert (end.phase, end.message) == (Phase.FAILED, "http://:x is invalid")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/readyz"),
        ("0.0.0.0", "http://127.0.0.1:8000/readyz"),  # noqa: S104
        ("::", "http://[::1]:8000/readyz"),
        ("::1", "http://[::1]:8000/readyz"),
    ],
)
def test_the_probe_asks_the_service_on_any_host(
    monkeypatch: pytest.MonkeyPatch, host: str, url: str
) -> None:
    requested: list[str] = []

    async def get(_: httpx.AsyncClient, url: str) -> httpx.Response:
        requested.append(str(httpx.URL(url)))
        return httpx.Response(200)

    async def play() -> None:
        task = asyncio.create_task(create_probe(local_url(host, 8000), STARTED).run())
        while not requested:
            await asyncio.sleep(0.001)
        task.cancel()

    monkeypatch.setattr(httpx.AsyncClient, "get", get)
    asyncio.run(play())
    assert set(requested) == {url}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"is_upper_bound": True}, None),
        ({"is_upper_bound": True, "down_from_ms": 700}, 700),
        ({"is_upper_bound": True, "phase": Phase.BUILDING}, 500),
        ({"is_upper_bound": True, "phase": Phase.BUILDING, "down_from_ms": 700}, 700),
    ],
)
def test_a_continued_recreation_is_measured_from_the_known_start(
    changes: dict[str, Any], expected: int | None
) -> None:
    assert create_probe("http://x", replace(STARTED, **changes)).down_from_ms == expected
