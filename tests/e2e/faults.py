"""Faults of the candidate, which tests inject through a file in the home directory."""

from __future__ import annotations

from pathlib import Path

FILE = "fault"
NONE, SLOW, SLOWER, BROKEN = "", "slow", "slower", "broken"
SLOW_S = 2.0
SLOWER_MS = 30.0


def read(home: Path) -> str:
    """The current fault; `NONE` by default."""
    path = home / FILE
    return path.read_text() if path.exists() else NONE


def write(home: Path, fault: str) -> None:
    """Set the fault of the next calls."""
    (home / FILE).write_text(fault)
