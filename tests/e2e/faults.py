"""What is wrong with the candidates of a home: a file of it that the tests write."""

from __future__ import annotations

from pathlib import Path

FILE = "fault"
NONE, SLOW, SLOWER, BROKEN = "", "slow", "slower", "broken"
SLOW_S = 2.0
SLOWER_MS = 30.0


def read(home: Path) -> str:
    """One of the above."""
    path = home / FILE
    return path.read_text() if path.exists() else NONE


def write(home: Path, fault: str) -> None:
    """Have it take effect with the next call."""
    (home / FILE).write_text(fault)
