"""Durations as texts: a whole number and s, m, h or d, such as 90s or 7d."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator

from models.validation import quote
from serve_app.clock import DAY_MS, HOUR_MS, MINUTE_MS

EXPECTED = "a whole number and s, m, h or d, such as 90s, 15m, 24h or 7d"
_UNITS_MS = {"d": DAY_MS, "h": HOUR_MS, "m": MINUTE_MS, "s": 1000}
_MAX_NUMBER = 999_999

# Other spellings, of which the error says the right one: 1h30m, 1.5 hours, PT1H30M, 2w.
_UNIT_WORDS = {
    "ms": Fraction(1),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), Fraction(1000)),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), Fraction(MINUTE_MS)),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), Fraction(HOUR_MS)),
    **dict.fromkeys(("d", "day", "days"), Fraction(DAY_MS)),
    **dict.fromkeys(("w", "week", "weeks"), Fraction(7 * DAY_MS)),
}
_PART = r"([0-9]{1,9}(?:[.,][0-9]{1,9})?)\s*([a-z]{1,7})"
_PARTS = re.compile(rf"(?:{_PART}[\s,]*)+", re.ASCII)


def duration_ms(text: str) -> int:
    """A duration in milliseconds, above 0 and below 1,000,000 days.

    Raises:
        ValueError: The text is not a duration; the message names the text.
    """
    match = re.fullmatch("([1-9][0-9]{0,5})([smhd])", text)
    if match is None:
        hint = f"; {how}" if (how := other_spelling(text)) else ""
        raise ValueError(f"is {quote(text)}: expected {EXPECTED}{hint}")
    return int(match[1]) * _UNITS_MS[match[2]]


def format_duration(duration_ms: int) -> str:
    """A duration in its largest unit that makes a whole number: 5400000 ms is 90m.

    Args:
        duration_ms: Whole seconds, above 0 and below 1,000,000 days.

    Raises:
        ValueError: There is no such text.
    """
    for unit, unit_ms in _UNITS_MS.items():
        number, rest = divmod(duration_ms, unit_ms)
        if rest == 0 and 0 < number <= _MAX_NUMBER:
            return f"{number}{unit}"
    raise ValueError(f"is {duration_ms} ms, which no duration is")


def other_spelling(text: str) -> str | None:
    """How to write a duration that was spelled in another way; None if it is none."""
    word = text.strip().lower()
    if re.fullmatch("[1-9][0-9]{0,5}", word):
        return f"say the unit, such as {word}h"
    if match := re.fullmatch("p([0-9wd]*)t?([0-9.,hms]*)", word):  # ISO 8601
        word = f"{match[1]} {match[2]}".strip()
    if len(word) > 50 or not _PARTS.fullmatch(word):
        return None
    parts = re.findall(_PART, word)
    if any(unit not in _UNIT_WORDS for _, unit in parts):
        return None
    total_ms = sum(Fraction(number.replace(",", ".")) * _UNIT_WORDS[unit] for number, unit in parts)
    try:
        return f"write {format_duration(int(total_ms))}" if total_ms == int(total_ms) else None
    except ValueError:
        return None


def _check(value: object) -> object:
    if not isinstance(value, str):
        seconds = isinstance(value, int) and 0 < value <= _MAX_NUMBER and value is not True
        hint = f"; for seconds write {value}s" if seconds else ""
        raise ValueError(f"is {quote(value)}: expected {EXPECTED}{hint}")
    duration_ms(value)
    return value


Duration = Annotated[str, BeforeValidator(_check)]
