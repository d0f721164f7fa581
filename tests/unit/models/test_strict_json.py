from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.strict_json import MAX_DEPTH, parse_json
from models.validation import InvalidDocument

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


def rejection(data: str | bytes) -> InvalidDocument:
    with pytest.raises(InvalidDocument) as caught:
        parse_json(data if isinstance(data, bytes) else data.encode())
    return caught.value


@given(values)
def test_json_is_read(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value


@given(
    st.dictionaries(st.text("abcdef", min_size=1, max_size=3), values, min_size=1, max_size=4),
    st.data(),
)
def test_a_key_that_is_set_twice_is_rejected_with_its_path(
    mapping: dict[str, Any], data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(sorted(mapping)))
    inside = json.dumps(mapping)[:-1]
    error = rejection(f'{{"rule": [0, {inside}, "{key}": {{"x": 1}}}}]}}')
    assert str(error) == f"rule.1.{key} is set twice: keep one"


def test_all_keys_that_are_set_twice_are_found() -> None:
    error = rejection(
        '{"a": {"b": 1, "b": 2, "b": 3}, "c": [{"d": 1, "d": {}}], "a": {"b": 1, "b": 2}}'
    )
    assert [str(finding.path) for finding in error.findings] == ["a", "a.b", "c.0.d"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "is not JSON: Expecting value (character 1)"),
        ('{"a": 1', "is not JSON: Expecting ',' delimiter (character 8)"),
        (b'"\xff"', "is not UTF-8 (invalid start byte): send it as UTF-8"),
        ("[NaN]", "has NaN, which JSON does not have: send a finite number"),
        ("[-Infinity]", "has -Infinity, which JSON does not have"),
        ('{"a": [1, 1e999]}', "a.1 is no finite number"),
        ('{"a": 9223372036854775808}', "a is beyond 9223372036854775807, the largest number"),
        ("[" + 5000 * "9" + "]", "has a number beyond 9223372036854775807"),
        ('{"a": "\\u0000"}', "a has the character U+0000, which no text may have"),
        ('{"a": "\\ud83d"}', "a has half of a character (a lone surrogate)"),
        ('{"a": {"\\ud83d": 1}}', "a has a key that has half of a character"),
        (100_000 * "[", f"has more than {MAX_DEPTH} levels"),
        ((MAX_DEPTH + 1) * '{"a":' + "1" + (MAX_DEPTH + 1) * "}", f"has more than {MAX_DEPTH}"),
    ],
)
def test_other_documents_are_rejected(data: str | bytes, message: str) -> None:
    assert str(rejection(data)).startswith(message)


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert parse_json(b'"\\ud83d\\ude00"') == "😀"
