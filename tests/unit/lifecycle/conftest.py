from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest

from serve_app.home import Home, open_home
from serve_app.lifecycle.ports import Port
from serve_app.lifecycle.processes import identify
from serve_app.lifecycle.run import Run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("SERVE_APP_HOME", str(tmp_path / "home"))
    return open_home()


@pytest.fixture
def supervised_run(tmp_path: Path) -> Run:
    """A run whose starter is this process; it has no other processes."""
    (tmp_path / "sockets").mkdir()
    return Run(
        id=secrets.token_hex(8),
        file="/x/base.yaml",
        url="http://127.0.0.1:8000",
        started_at="2026-11-23T06:52:00+00:00",
        sockets=str(tmp_path / "sockets"),
        ports=(Port(8000, "127.0.0.1", "service", "http_options.port in /x/base.yaml"),),
        starter=identify(psutil.Process()),
    )


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a full disk: files can be created, but not written."""

    def write_text(path: Path, *_: Any, **__: Any) -> NoReturn:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", write_text)
