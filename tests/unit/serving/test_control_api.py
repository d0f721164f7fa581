"""What the ControlApi does itself; neither Serve nor the Controller is there."""

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

with warnings.catch_warnings():  # Serve's modules use what pydantic will take away
    warnings.simplefilter("ignore")
    from serve_app.serving import control_api
    from serve_app.serving.control_api import ControlApi


class FakeDesk:
    """Writes files.

    Attributes:
        begun: Set when an export has begun.
        may_write: What every export waits for.
        failure: What it meets then.
        written: The files, also those that are gone.
    """

    def __init__(self) -> None:
        self.begun, self.may_write = threading.Event(), threading.Event()
        self.failure: Exception | None = None
        self.written: list[Path] = []

    def export(self, table: str, kind: str, since: str, folder: Path) -> Path:
        path = folder / f"{table}.{kind}"
        self.begun.set()
        self.may_write.wait(60)
        if self.failure:
            raise self.failure
        path.touch()
        self.written.append(path)
        return path


@pytest.fixture
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that exports lie in."""
    (tmp_path / "home").mkdir(mode=0o700)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    monkeypatch.setattr(control_api, "join_serve_log", lambda: None)
    return tmp_path / "home" / "exports"


def made(desk: FakeDesk) -> ControlApi:
    """A ControlApi whose reports come from the desk."""
    handle: Any = None
    plane = ControlApi(handle)
    plane.__dict__["_reports"] = desk
    return plane


def test_who_asked_for_an_export_gets_the_file(exports: Path) -> None:
    desk = FakeDesk()
    desk.may_write.set()
    path = asyncio.run(made(desk).export("epochs", "csv", "7d"))
    assert path == exports / "epochs.csv"
    assert path.exists()


@pytest.mark.parametrize("how", ["given up", "cancelled"])
def test_an_export_that_nobody_waits_for_leaves_no_file(
    exports: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "given up":
        monkeypatch.setattr(control_api, "READ_TIMEOUT_S", 0.1)
    desk = FakeDesk()

    async def scenario() -> None:
        asking = asyncio.create_task(made(desk).export("epochs", "csv", "7d"))
        while not desk.begun.is_set():
            await asyncio.sleep(0.001)
        if how == "cancelled":
            asking.cancel()
        with pytest.raises(TooSlow if how == "given up" else asyncio.CancelledError):
            await asking

    asyncio.run(scenario())
    desk.may_write.set()
    deadline = time.monotonic() + 10
    while not (desk.written and not desk.written[0].exists()) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert desk.written == [exports / "epochs.csv"]
    assert list(exports.iterdir()) == []


def test_a_full_disk_is_told(exports: Path) -> None:
    desk = FakeDesk()
    desk.failure = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(exports / "epochs.csv"))
    desk.may_write.set()
    with pytest.raises(NotReady) as rejected:
        asyncio.run(made(desk).export("epochs", "csv", "7d"))
    assert str(rejected.value) == (
        "the export cannot be written (No space left on device): make room for it in the home"
        " directory, or ask for a shorter period"
    )
