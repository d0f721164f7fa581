"""Numbers in JSON, which has one type for them: 5, 5.0 and 5e0 are the same number (RFC 8259)."""

from __future__ import annotations

from typing import Any

MAX_EXACT = 2**53  # up to it, a float64 is exact


def with_whole_numbers(content: Any) -> Any:
    """A copy of JSON content whose whole numbers are `int`, however they were spelled.

    Raises:
        ValueError: The content is nested too deeply.
    """
    try:
        return _convert(content)
    except RecursionError as exc:
        raise ValueError("the body is nested too deeply: send fewer levels") from exc


def _convert(content: Any) -> Any:
    if isinstance(content, float):
        is_whole = content.is_integer() and abs(content) <= MAX_EXACT
        return int(content) if is_whole else content
    if isinstance(content, dict):
        return {key: _convert(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_convert(value) for value in content]
    return content
