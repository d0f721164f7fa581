"""Durations as texts: a whole number and s, m, h or d, such as 90s or 7d."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from serve_app.clock import DAY_MS, HOUR_MS, MINUTE_MS

EXPECTED = "a number and s, m, h or d, such as 7d"
_UNITS_MS = {"s": 1000, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}


def duration_ms(text: str) -> int:
    """A duration in milliseconds, above 0 and below 1,000,000 days.

    Raises:
        ValueError: The text is not a duration; the message names the text.
    """
    match = re.fullmatch("([1-9][0-9]{0,5})([smhd])", text)
    if match is None:
        raise ValueError(f"is '{text[:50]}': expected {EXPECTED}")
    return int(match[1]) * _UNITS_MS[match[2]]


def _check(text: str) -> str:
    duration_ms(text)
    return text


Duration = Annotated[str, AfterValidator(_check)]
