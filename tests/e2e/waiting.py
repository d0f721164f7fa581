"""Polling for a condition instead of a fixed sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

TIMEOUT_S = 90.0


def eventually(condition: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> Any:
    """Wait for a condition and return its first true value."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not met in {timeout_s:g} s: {condition}"
        time.sleep(0.25)
    return value
