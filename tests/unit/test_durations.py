from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.durations import duration_ms

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@given(st.integers(1, 999_999), st.sampled_from([*SECONDS]))
def test_a_duration_is_a_number_of_units(number: int, unit: str) -> None:
    assert duration_ms(f"{number}{unit}") == 1000 * number * SECONDS[unit]


@pytest.mark.parametrize(
    "text",
    ["", "d", "7", "0d", "07d", "-1d", "1.5h", "7w", "7 d", "7d\n", "٣h", "1234567s", "1h1m"],
)
def test_other_texts_are_rejected(text: str) -> None:
    expected = f"is '{text}': expected a number and s, m, h or d, such as 7d"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        duration_ms(text)
