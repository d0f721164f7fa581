"""Exports of the ControlApi, without Serve and the Controller."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from serve_app.errors import NotReady, TooSlow
from serve_app.home import DATABASE_VARIABLE, HOME_VARIABLE

with warnings.catch_warnings():  # deprecated pydantic features in Serve's modules
    warnings.simplefilter("ignore")
    from serve_app.serving import control_api
    from serve_app.serving.control_api import ControlApi


class FakeReports:
    """A `ReportService` that writes empty files.

    Attributes:
        started: Set when an export has started.
        may_write: Every export waits for it.
        failure: Raised instead of writing.
        written: The written files, also deleted ones.
    """

    def __init__(self) -> None:
        self.started, self.may_write = threading.Event(), threading.Event()
        self.failure: Exception | None = None
        self.written: list[Path] = []

    def export(self, table: str, kind: str, since: str, folder: Path) -> Path:
        path = folder / f"{table}.{kind}"
        self.started.set()
        self.may_write.wait(60)
        if self.failure:
            raise self.failure
        path.touch()
        self.written.append(path)
        return path


@pytest.fixture
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the exports."""
    (tmp_path / "home").mkdir(mode=0o700)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    monkeypatch.setattr(control_api, "join_serve_log", lambda: None)
    return tmp_path / "home" / "exports"


def create_control_api(reports: FakeReports) -> ControlApi:
    handle: Any = None
    api = ControlApi(handle)
    api.__dict__["_reports"] = reports
    return api


def test_export_returns_the_file(exports: Path) -> None:
    reports = FakeReports()
    reports.may_write.set()
    path = asyncio.run(create_control_api(reports).export("epochs", "csv", "7d"))
    assert path == exports / "epochs.csv"
    assert path.exists()


@pytest.mark.parametrize("how", ["timeout", "cancelled"])
def test_an_abandoned_export_leaves_no_file(
    exports: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "timeout":
        monkeypatch.setattr(control_api, "READ_TIMEOUT_S", 0.1)
    reports = FakeReports()

    async def scenario() -> None:
        export = asyncio.create_task(create_control_api(reports).export("epochs", "csv", "7d"))
        while not reports.started.is_set():
            await asyncio.sleep(0.001)
        if how == "cancelled":
            export.cancel()
        with pytest.raises(TooSlow if how == "timeout" else asyncio.CancelledError):
            await export

    asyncio.run(scenario())
    reports.may_write.set()
    deadline = time.monotonic() + 10
    while not (reports.written and not reports.written[0].exists()) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert reports.written == [exports / "epochs.csv"]
    assert list(exports.iterdir()) == []


def test_the_error_of_a_full_disk_names_the_cause(exports: Path) -> None:
    reports = FakeReports()
    reports.failure = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(exports / "epochs.csv"))
    reports.may_write.set()
    with pytest.raises(NotReady) as caught:
        asyncio.run(create_control_api(reports).export("epochs", "csv", "7d"))
    assert str(caught.value) == (
        "the export cannot be written (No space left on device): free space in the home"
        " directory, or export a shorter period"
    )
