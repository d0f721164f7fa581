"""Times as texts: ISO 8601, such as 2026-11-23T08:00 or 2026-11-23T08:00+11:00."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from models.validation import quote

EXPECTED = "an ISO 8601 time, such as 2026-11-23T08:00 (UTC) or 2026-11-23T08:00+11:00"
_OFFSET = re.compile(r"(.*[0-9]:[0-9]{2}\S*) \+?([0-9]{2}:?(?:[0-9]{2})?)", re.ASCII)
# The number of digits of the present in a unit, its name, and how many are a second.
_EPOCHS = {
    10: ("seconds", 1),
    13: ("milliseconds", 10**3),
    16: ("microseconds", 10**6),
    19: ("nanoseconds", 10**9),
}


def time_ms(text: str) -> int:
    """A time in milliseconds since 1970 UTC; UTC unless the text has an offset.

    A space before the offset counts as a plus: in the query of a URL a plus stands for a space.

    Raises:
        ValueError: The text is not a time; the message says how to write one.
    """
    plain = text.strip()
    if match := _OFFSET.fullmatch(plain):
        plain = f"{match[1]}+{match[2]}"
    try:
        at = datetime.fromisoformat(plain)
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError) as exc:
        hint = f"; {how}" if (how := other_spelling(text)) else ""
        raise ValueError(f"is {quote(text)}: expected {EXPECTED}{hint}") from exc


def other_spelling(text: str) -> str | None:
    """How to write a time that was given as a number since 1970; None if it is none."""
    match = re.fullmatch(r"([0-9]{10,19})(?:\.[0-9]*)?", text.strip(), re.ASCII)
    if match is None or len(match[1]) not in _EPOCHS:
        return None
    unit, per_second = _EPOCHS[len(match[1])]
    at = datetime.fromtimestamp(int(match[1]) // per_second, UTC)
    return f"it looks like {unit} since 1970: write {at:%Y-%m-%dT%H:%M:%SZ}"
