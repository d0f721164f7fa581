"""Whole numbers in JSON, in any spelling."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.json_numbers import MAX_EXACT, with_whole_numbers

WHOLE = st.integers(-MAX_EXACT, MAX_EXACT)


@given(WHOLE, st.sampled_from(["{}", "{}.0", "{}e0", "{}.00E+0"]))
def test_a_whole_number_is_one_in_any_spelling(number: int, spelling: str) -> None:
    read = with_whole_numbers(json.loads(f'{{"a": [{spelling.format(number)}]}}'))
    assert read == {"a": [number]}
    assert type(read["a"][0]) is int


VALUES = st.none() | st.booleans() | st.text() | WHOLE | st.floats(allow_nan=False)


@given(st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_no_value_changes(content: object) -> None:
    assert with_whole_numbers(content) == content


@pytest.mark.parametrize("value", [True, False, "5", 5.5, math.inf, 1e300, None])
def test_other_values_keep_their_type(value: object) -> None:
    assert type(with_whole_numbers(value)) is type(value)


def test_deep_nesting_is_refused() -> None:
    content: list[object] = []
    for _ in range(10_000):
        content = [content]
    with pytest.raises(ValueError, match="nested too deeply"):
        with_whole_numbers(content)
