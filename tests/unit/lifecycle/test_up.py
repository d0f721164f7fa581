"""The process that stays with the service."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serve_app.home import Home
from serve_app.lifecycle import up
from serve_app.lifecycle.run import Run, load, save
from serve_app.lifecycle.signals import Signals


def test_a_full_disk_does_not_end_the_stay(
    home: Home, attended: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be recorded is recorded once there is room."""
    save(replace(attended, service=attended.starter), home)
    written: list[Path] = []
    real = Path.write_text

    def write_text(path: Path, *args: Any, **options: Any) -> int:
        written.append(path)
        if len(written) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        signals.count += 1
        return real(path, *args, **options)

    monkeypatch.setattr(up, "RECORD_S", 0.01)
    monkeypatch.setattr(Path, "write_text", write_text)
    monkeypatch.setattr(Run, "processes", lambda run: [run.starter.living()])
    with Signals() as signals:
        up._stay(attended, home, signals)
    kept = load(home)
    assert kept
    assert (len(written), kept.recorded) == (2, (attended.starter,))
