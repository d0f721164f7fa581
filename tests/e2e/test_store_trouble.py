"""Database failures under a running service: requests succeed and records are not lost."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from serve_app.home import DATABASE_VARIABLE
from tests.e2e.load import FeedbackSender, Load
from tests.e2e.store_counts import StoreCounts
from tests.e2e.waiting import eventually
from tests.postgres import PostgresServer, run_server

ROOT = Path(__file__).parents[2]
TROUBLE_S = 7.0  # longer than the timeout of one delivery
Trouble = Callable[[Any], AbstractContextManager[None]]


@dataclass
class ServiceWithTroubles:
    """A service, and the failures that a test can inject into its database.

    Attributes:
        troubles: By name.
        feedback_troubles: The troubles during which feedback is accepted, in a spool on disk.
    """

    service: Any
    troubles: dict[str, Trouble]
    feedback_troubles: set[str]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service_with_troubles(
    request: pytest.FixtureRequest, start: Any
) -> Iterator[ServiceWithTroubles]:
    base = ROOT / "deploy_configs/base.yaml"
    if request.param == "sqlite":
        service = start(base)
        yield ServiceWithTroubles(
            service, {"slow": lock_database, "down": fill_disk}, feedback_troubles={"slow"}
        )
        service.command("down")
        return
    with run_server() as postgres, pytest.MonkeyPatch.context() as environ:
        environ.setenv(DATABASE_VARIABLE, postgres.url)
        service = start(base)
        troubles = {"slow": hang_server(postgres), "down": crash_server(postgres)}
        yield ServiceWithTroubles(service, troubles, feedback_troubles={"slow", "down"})
        service.command("down")


@contextmanager
def lock_database(service: Any) -> Iterator[None]:
    """Hold a write lock in another process."""
    with closing(
        sqlite3.connect(service.home / "serve-app.db", isolation_level=None)
    ) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def fill_disk(service: Any) -> Iterator[None]:
    """Prevent all writes of the replicas to files: store, spool and log."""
    replicas = [
        psutil.Process(replica["pid"])
        for application in service.get_control("status")["applications"].values()
        for deployment in application["deployments"].values()
        for replica in deployment["replicas"]
        if replica["state"] == "RUNNING"
    ]
    before = [replica.rlimit(resource.RLIMIT_FSIZE) for replica in replicas]
    for replica, (_, hard) in zip(replicas, before, strict=True):
        replica.rlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        for replica, limits in zip(replicas, before, strict=True):
            replica.rlimit(resource.RLIMIT_FSIZE, limits)


def hang_server(postgres: PostgresServer) -> Trouble:
    """The server accepts connections and does not respond."""

    @contextmanager
    def trouble(_: Any) -> Iterator[None]:
        pids = [process.pid for process in postgres.processes()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    return trouble


def crash_server(postgres: PostgresServer) -> Trouble:
    """The server crashes; it is started again at the end."""

    @contextmanager
    def trouble(_: Any) -> Iterator[None]:
        postgres.stop(signal.SIGQUIT)
        try:
            yield
        finally:
            postgres.start()

    return trouble


@pytest.mark.parametrize("trouble", ["slow", "down"])
def test_requests_succeed_and_records_are_kept(
    service_with_troubles: ServiceWithTroubles, examples: Any, trouble: str
) -> None:
    target = service_with_troubles
    service = target.service
    counts = StoreCounts(service)
    with Load(examples) as load, FeedbackSender(service.http.base_url, load.requests) as feedback:
        load.wait_for(100)
        with target.troubles[trouble](service):
            load.wait_for(50)  # requests from before the trouble have ended
            requests, acknowledged = len(load.requests), len(feedback.acknowledged)
            time.sleep(TROUBLE_S)
            assert len(load.requests) - requests > 100
            assert (len(feedback.acknowledged) > acknowledged) == (
                trouble in target.feedback_troubles
            )
        load.wait_for(100)
    assert load.failed == []
    assert {request.version_and_reason for request in load.requests} == {("v1", "static")}
    eventually(lambda: counts.exposures() == len(load.requests))
    eventually(lambda: counts.missing() == 0)
    assert counts.dropped() == 0
    eventually(lambda: counts.feedback() >= len(feedback.acknowledged))
    assert counts.feedback() <= feedback.sent
    if trouble in target.feedback_troubles:
        assert len(feedback.acknowledged) == feedback.sent
