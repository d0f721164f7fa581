"""A database in trouble under a live service: users notice nothing, and what is taken is kept."""

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
from tests.e2e.ledger import Feedback, Ledger
from tests.e2e.load import Load
from tests.e2e.waiting import eventually
from tests.postgres import Server, server

ROOT = Path(__file__).parents[2]
TROUBLE_S = 7.0  # longer than one delivery is waited for
Trouble = Callable[[Any], AbstractContextManager[None]]


@dataclass
class Served:
    """A service, and what can befall its database.

    Attributes:
        keeps_words: In which troubles feedback can be kept, on disk.
    """

    service: Any
    troubles: dict[str, Trouble]
    keeps_words: set[str]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(request: pytest.FixtureRequest, start: Any) -> Iterator[Served]:
    base = ROOT / "deploy_configs/base.yaml"
    if request.param == "sqlite":
        service = start(base)
        yield Served(service, {"slow": locked, "down": full}, keeps_words={"slow"})
        service.command("down")
        return
    with server() as postgres, pytest.MonkeyPatch.context() as environ:
        environ.setenv(DATABASE_VARIABLE, postgres.url)
        service = start(base)
        troubles = {"slow": hung(postgres), "down": gone(postgres)}
        yield Served(service, troubles, keeps_words={"slow", "down"})
        service.command("down")


@contextmanager
def locked(service: Any) -> Iterator[None]:
    """Another process writes, and does not end."""
    with closing(sqlite3.connect(service.home / "serve-app.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def full(service: Any) -> Iterator[None]:
    """No replica can write to a file, as on a full disk: no store, no spool, no log."""
    replicas = [
        psutil.Process(replica["pid"])
        for application in service.control("status")["applications"].values()
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


def hung(postgres: Server) -> Trouble:
    """The server accepts what it is sent, and answers nothing."""

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


def gone(postgres: Server) -> Trouble:
    """The server has crashed, and is started again."""

    @contextmanager
    def trouble(_: Any) -> Iterator[None]:
        postgres.stop(signal.SIGQUIT)
        try:
            yield
        finally:
            postgres.start()

    return trouble


@pytest.mark.parametrize("trouble", ["slow", "down"])
def test_users_notice_nothing_and_what_was_taken_is_kept(
    served: Served, examples: Any, trouble: str
) -> None:
    service = served.service
    ledger = Ledger(service)
    with Load(examples) as load, Feedback(service.http.base_url, load.asked) as said:
        load.wait_for(100)
        with served.troubles[trouble](service):
            load.wait_for(50)  # what was under way when it began has ended
            asked, thanked = len(load.asked), len(said.acknowledged)
            time.sleep(TROUBLE_S)
            assert len(load.asked) - asked > 100
            assert (len(said.acknowledged) > thanked) == (trouble in served.keeps_words)
        load.wait_for(100)
    assert load.failed == []
    assert {request.given for request in load.asked} == {("v1", "static")}
    eventually(lambda: ledger.exposures() == len(load.asked))
    eventually(lambda: ledger.missing() == 0)
    assert ledger.dropped() == 0
    eventually(lambda: ledger.words() >= len(said.acknowledged))
    assert ledger.words() <= said.sent
    if trouble in served.keeps_words:
        assert len(said.acknowledged) == said.sent
