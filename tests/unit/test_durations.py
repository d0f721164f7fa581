from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.durations import EXPECTED, duration_ms, format_duration

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@given(st.integers(1, 999_999), st.sampled_from([*SECONDS]))
def test_a_duration_is_a_number_of_units(number: int, unit: str) -> None:
    assert duration_ms(f"{number}{unit}") == 1000 * number * SECONDS[unit]


@given(st.integers(1, 999_999), st.sampled_from([*SECONDS]))
def test_a_duration_that_is_written_is_read_again(number: int, unit: str) -> None:
    milliseconds = 1000 * number * SECONDS[unit]
    assert duration_ms(format_duration(milliseconds)) == milliseconds


@pytest.mark.parametrize("milliseconds", [0, 1, 1500, -1000, 10**6 * 86_400_000])
def test_other_lengths_have_no_text(milliseconds: int) -> None:
    with pytest.raises(ValueError, match=f"is {milliseconds} ms"):
        format_duration(milliseconds)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", ""),
        ("d", ""),
        ("0d", ""),
        ("-1d", ""),
        ("٣h", ""),
        ("1234567s", ""),
        ("500ms", ""),
        ("7 years", ""),
        ("P1M", "; write 1m"),
        ("7", "; say the unit, such as 7h"),
        ("07d", "; write 7d"),
        ("7 d", "; write 7d"),
        ("7D", "; write 7d"),
        ("7w", "; write 49d"),
        ("1h1m", "; write 61m"),
        ("1h 30m", "; write 90m"),
        ("1.5h", "; write 90m"),
        ("1,5 hours", "; write 90m"),
        ("PT1H30M", "; write 90m"),
        ("P7D", "; write 7d"),
        ("2 days, 12 hours", "; write 60h"),
    ],
)
def test_other_texts_are_rejected_with_how_to_write_them(text: str, hint: str) -> None:
    expected = f"is '{text}': expected {EXPECTED}{hint}"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        duration_ms(text)


def test_an_error_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"^is '7d\\n': expected .*; write 7d$"):
        duration_ms("7d\n")


@given(st.text(max_size=60))
def test_any_text_is_a_duration_or_rejected(text: str) -> None:
    with suppress(ValueError):
        assert duration_ms(text) > 0
