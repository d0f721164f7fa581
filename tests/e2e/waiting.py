"""Waiting for what takes its time, without a fixed sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

SETTLE_S = 90.0


def eventually(condition: Callable[[], Any], timeout_s: float = SETTLE_S) -> Any:
    """The first true value of a condition, which must come in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never came: {condition}"
        time.sleep(0.25)
    return value
