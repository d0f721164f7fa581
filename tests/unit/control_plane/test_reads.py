from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from serve_app.control_plane import reads
from serve_app.control_plane.reads import Reads
from serve_app.errors import NotReady, TooSlow
from serve_app.evidence.confidence import Interval
from serve_app.home import Home
from serve_app.reports.query import ReportQuery


@dataclass(frozen=True)
class Assessment:
    """The result of every report."""

    subject: object
    share: Interval


class FakeReports:
    """A `ReportService` that repeats its arguments and writes empty files.

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

    def make(self, name: str, query: ReportQuery) -> Assessment:
        return Assessment((name, query.region), Interval(0.25, 0.5))

    def experiments(self, limit: int) -> list[Assessment]:
        return [Assessment("koala", Interval(0.25, 0.5))]

    def overview(self, since: str) -> Assessment:
        return Assessment(since, Interval(0.25, 0.5))

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
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def reports() -> FakeReports:
    return FakeReports()


def create_reads(home: Home, reports: FakeReports) -> Reads:
    created = Reads(home)
    created.__dict__["_reports"] = reports
    return created


def test_assessments_are_returned_as_json(home: Home, reports: FakeReports) -> None:
    created = create_reads(home, reports)

    async def scenario() -> list[object]:
        return [
            await created.report("ab", ReportQuery(region="AU")),
            await created.experiments(50),
            await created.overview("1h"),
        ]

    share = [0.25, 0.5]
    assert asyncio.run(scenario()) == [
        {"subject": ["ab", "AU"], "share": share},
        [{"subject": "koala", "share": share}],
        {"subject": "1h", "share": share},
    ]


def test_export_returns_the_file(home: Home, reports: FakeReports) -> None:
    reports.may_write.set()
    path = asyncio.run(create_reads(home, reports).export("epochs", "csv", "7d"))
    assert path == home.folder("exports") / "epochs.csv"
    assert path.exists()


@pytest.mark.parametrize("how", ["timeout", "cancelled"])
def test_an_abandoned_export_leaves_no_file(
    home: Home, reports: FakeReports, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "timeout":
        monkeypatch.setattr(reads, "READ_TIMEOUT_S", 0.1)

    async def scenario() -> None:
        export = asyncio.create_task(create_reads(home, reports).export("epochs", "csv", "7d"))
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
    assert reports.written == [home.folder("exports") / "epochs.csv"]
    assert list(home.folder("exports").iterdir()) == []


def test_the_error_of_a_full_disk_names_the_cause(home: Home, reports: FakeReports) -> None:
    reports.failure = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "epochs.csv")
    reports.may_write.set()
    with pytest.raises(NotReady) as caught:
        asyncio.run(create_reads(home, reports).export("epochs", "csv", "7d"))
    assert str(caught.value) == (
        "the export cannot be written (No space left on device): free space in the home"
        " directory, or export a shorter period"
    )


def test_exports_of_an_earlier_process_are_removed(home: Home) -> None:
    (home.folder("exports") / "epochs.csv").touch()
    Reads(home)
    assert list(home.folder("exports").iterdir()) == []


def test_the_module_imports_no_slow_libraries() -> None:
    """They would delay the start of the control plane's HTTP API."""
    program = "import sys, serve_app.control_plane.reads; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert not {"scipy", "sqlalchemy", "alembic"} & set(modules)
