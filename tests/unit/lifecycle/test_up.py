"""Starting and supervising a service."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from serve_app.errors import StartBlocked, StartFailed
from serve_app.home import DATABASE_VARIABLE, Home
from serve_app.lifecycle import ports, ray_token, up
from serve_app.lifecycle.ports import TakenPort
from serve_app.lifecycle.readiness import RayTimedOut
from serve_app.lifecycle.run import Run, load, save
from serve_app.lifecycle.signals import StopSignals
from serve_app.lifecycle.terminal import Terminal
from serve_app.store.revisions import Revision
from serve_app.store.store import open_store


def test_a_full_disk_does_not_end_the_supervision(
    home: Home, supervised_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is written once there is space."""
    save(replace(supervised_run, service=supervised_run.starter), home)
    written: list[Path] = []
    real = Path.write_text

    def write_text(path: Path, *args: Any, **options: Any) -> int:
        written.append(path)
        if len(written) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        signals.count += 1
        return real(path, *args, **options)

    monkeypatch.setattr(up, "RECORD_INTERVAL_S", 0.01)
    monkeypatch.setattr(Path, "write_text", write_text)
    monkeypatch.setattr(Run, "processes", lambda run: [run.starter.find()])
    with StopSignals() as signals:
        up._supervise(supervised_run, home, signals)
    recorded = load(home)
    assert recorded
    assert (len(written), recorded.recorded) == (2, (supervised_run.starter,))


@pytest.mark.parametrize("taken", [False, True])
def test_a_start_that_is_blocked_has_no_revision(
    home: Home, supervised_run: Run, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    if taken:
        monkeypatch.setattr(
            ports, "find_taken_ports", lambda required: [TakenPort(required[0], None)]
        )
    else:
        save(supervised_run, home)
    with pytest.raises(StartBlocked):
        up.start_service(None, home, Terminal(), "root")
    assert last_revisions(home) == []


def test_a_start_is_recorded_before_the_service_exists(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the Controller finds its revision."""

    def fail(*_: object) -> NoReturn:
        raise StartFailed

    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    monkeypatch.setattr(ports, "find_taken_ports", lambda _: [])
    monkeypatch.setattr(ray_token, "protect", lambda: False)
    monkeypatch.setattr(up, "create_run", fail)
    with pytest.raises(StartFailed):
        up.start_service(None, home, Terminal(), "root")
    (revision,) = last_revisions(home)
    assert (revision.actor, revision.reason) == ("root", "up base.yaml")


@pytest.mark.parametrize(("failures", "attempts"), [(0, 1), (1, 2), (2, 2)])
def test_a_start_that_ray_gave_up_is_tried_once_more(
    home: Home, monkeypatch: pytest.MonkeyPatch, failures: int, attempts: int
) -> None:
    starts: list[object] = []

    def run_service(*arguments: object) -> None:
        starts.append(arguments)
        if len(starts) <= failures:
            raise RayTimedOut("busy")

    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    monkeypatch.setattr(ports, "find_taken_ports", lambda _: [])
    monkeypatch.setattr(ray_token, "protect", lambda: False)
    monkeypatch.setattr(up, "_run_service", run_service)
    with pytest.raises(RayTimedOut) if failures == attempts else nullcontext():
        up.start_service(None, home, Terminal(), "root")
    assert len(starts) == attempts


def last_revisions(home: Home) -> list[Revision]:
    store = open_store(home.database_url)
    try:
        return store.revisions(1)
    finally:
        store.close()
