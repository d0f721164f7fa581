from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.times import time_ms

offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1970, 1, 3), datetime(2100, 1, 1), timezones=offsets)


def ms(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]


@given(times)
def test_a_time_is_read_with_its_offset_also_from_a_url(time: datetime) -> None:
    """A query decodes a plus as a space."""
    text = time.replace(microsecond=0).isoformat()
    expected = int(time.replace(microsecond=0).timestamp() * 1000)
    assert time_ms(text) == expected
    assert time_ms(text.replace("+", " ")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T10:00+11:00", ms(2026, 11, 22, 23)),
        ("2026-11-23T10:00 11:00", ms(2026, 11, 22, 23)),
        ("2026-11-23 10:00 +11:00", ms(2026, 11, 22, 23)),
        ("2026-11-23 10:00:30.5 1100", ms(2026, 11, 22, 23, 0, 30) + 500),
        ("2026-11-23T10:00+11", ms(2026, 11, 22, 23)),
        ("2026-11-23T10:00-05:00", ms(2026, 11, 23, 15)),
        ("2026-11-23T10:00Z", ms(2026, 11, 23, 10)),
        ("2026-11-23 10:00", ms(2026, 11, 23, 10)),
        (" 2026-11-23 ", ms(2026, 11, 23)),
        ("20261123", ms(2026, 11, 23)),
    ],
)
def test_a_time_without_an_offset_is_utc(text: str, expected: int) -> None:
    assert time_ms(text) == expected


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("1795428000", "seconds"),
        ("1795428000.25", "seconds"),
        ("1795428000000", "milliseconds"),
        ("1795428000000000", "microseconds"),
        ("1795428000000000000", "nanoseconds"),
    ],
)
def test_a_number_since_1970_is_rejected_with_the_time_that_it_is(text: str, unit: str) -> None:
    expected = rf"it looks like {unit} since 1970: write 2026-11-23T10:00:00Z$"
    with pytest.raises(ValueError, match=expected):
        time_ms(text)


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "23.11.2026", "10:00", "1" * 12])
def test_other_texts_are_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=rf"^is '{text}': expected an ISO 8601 time, such as "):
        time_ms(text)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_rejected(text: str) -> None:
    with suppress(ValueError):
        time_ms(text)
