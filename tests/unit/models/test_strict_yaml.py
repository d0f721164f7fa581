from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from models.strict_yaml import MAX_BYTES, MAX_DEPTH, MAX_VALUES, is_text, parse_yaml
from models.validation import InvalidDocument

keys = st.text("abcdefgh_", min_size=1, max_size=8)
texts = st.text("ab 1é😀\"\\'#:-{}[],&*!%@`?\n\t", max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=10,
)
# Words whose meaning depends on the version of YAML, among others.
words = st.text("0123456789abxoyesnNEe+-._:~=<", min_size=1, max_size=12)


def rejection(text: str | bytes) -> InvalidDocument:
    with pytest.raises(InvalidDocument) as caught:
        parse_yaml(text if isinstance(text, bytes) else text.encode())
    return caught.value


@given(values)
def test_json_is_read_as_yaml(value: Any) -> None:
    """JSON is YAML 1.2; its escapes of characters beyond 16 bits are not YAML 1.1."""
    assert parse_yaml(json.dumps(value, ensure_ascii=False).encode()) == value


@given(words)
def test_a_word_that_is_read_has_the_value_of_every_version(word: str) -> None:
    try:
        value = parse_yaml(f"- {word}".encode())
    except InvalidDocument:
        return
    assert value == yaml.safe_load(f"- {word}")
    if value == [word]:
        assert is_text(word)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("NO", "as false and YAML 1.2 as 'NO': write \"NO\" in quotes for text or false"),
        ("on", "as true and YAML 1.2 as 'on': write \"on\" in quotes for text or true"),
        ("5e-2", "as '5e-2' and YAML 1.2 as 0.05: write 0.05 or \"5e-2\" in quotes for text"),
        ("1e3", "as '1e3' and YAML 1.2 as 1000.0: write 1000 or \"1e3\" in quotes for text"),
        ("1e300", "as '1e300' and YAML 1.2 as 1e+300: write 1.0e+300 or \"1e300\" in quotes"),
        ("010", 'as 8 and YAML 1.2 as 10: write 10 or 8 or "010" in quotes for text'),
        ("0o10", "as '0o10' and YAML 1.2 as 8: write 8 or \"0o10\" in quotes for text"),
        ("1_000", "as 1000 and YAML 1.2 as '1_000': write 1000 or \"1_000\" in quotes for text"),
        ("12:30", "as 750 and YAML 1.2 as '12:30': write 750 or \"12:30\" in quotes for text"),
        ("2026-11-23", "as a date and YAML 1.2 as '2026-11-23': write \"2026-11-23\" in quotes"),
    ],
)
def test_a_word_of_two_meanings_is_rejected_with_both(word: str, message: str) -> None:
    error = rejection(f"rule:\n  regions: [SE, {word}]")
    (finding,) = error.findings
    assert finding.path == "rule.regions.1"
    assert finding.message.startswith(f"is {word} in line 2, which Ray (YAML 1.1) reads {message}")
    quoted = parse_yaml(f'regions: [SE, "{word}"]'.encode())
    assert quoted == {"regions": ["SE", word]}


@given(st.data())
def test_the_advised_number_is_the_number(data: st.DataObject) -> None:
    number = data.draw(st.floats(1e-9, 1e300, allow_nan=False).map(lambda x: f"{x:.3e}"))
    word = number.replace(".", "")
    try:
        parse_yaml(f"a: {word}".encode())
    except InvalidDocument as exc:
        advised = str(exc).partition("write ")[2].partition(" or ")[0]
        assert parse_yaml(f"a: {advised}".encode()) == {"a": float(word)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: .inf", "a is .inf in line 1, which is no number in JSON"),
        ("a: -.INF", "a is -.INF in line 1, which is no number in JSON"),
        ("a: 1.0e+999", "a is 1.0e+999 in line 1, which is no number in JSON"),
        (f"a: {2**63}", f"a is {2**63} in line 1, beyond {2**63 - 1}, the largest number"),
        ("a: " + 5000 * "9", f"a is {50 * '9'}… in line 1, a number of 5000 digits"),
        ("a: 2026-13-45", "a is 2026-13-45 in line 1, no date (month must be in 1..12)"),
        ("a: =", "a is = in line 1, which is a sign of YAML 1.1: write it in quotes"),
        ("a: !!binary QQ==", "a has the tag tag:yaml.org,2002:binary in line 1"),
        ("!!set {a}", "has the tag tag:yaml.org,2002:set in line 1"),
        ("a: ! 5", "a has the tag ! in line 1: write a value without a tag"),
        ('a: "\\0"', "a has the character U+0000, which no text may have (line 1)"),
        ('a: "\\ud800"', "a has half of a character (a lone surrogate) (line 1)"),
        ('"\\0": 1', "\0 has the character U+0000"),
        ("a: 1\n---\nb: 2", "has several documents: expected one"),
        ("a:\n\tb: 1", "is not YAML: found a tab in line 2, column 1: indent with spaces"),
        ("a: [1, 2", "is not YAML: expected ',' or ']', but got '<stream end>' in line 1"),
        ("a: b: c", "is not YAML: mapping values are not allowed here in line 1, column 5"),
        ("a: \x07", "is not YAML: found the character U+0007, which YAML does not allow"),
        (b"a: \xff", "is not UTF-8 (invalid start byte): save it as UTF-8"),
        ("a: 1".encode("utf-16"), "is not UTF-8 (invalid start byte): save it as UTF-8"),
        ("1: a", '1 is 1 as a key in line 1, and no text: write it in quotes, "1"'),
        ("null: a", 'null is null as a key in line 1, and no text: write it in quotes, "null"'),
        ("NO: a", "NO is NO as a key in line 1, which Ray (YAML 1.1) reads as false"),
        ("? [a]\n: b", "has a key in line 1 that is no text"),
        ("a: &x b\n*x : c", "has an alias as a key in line 2: write the key"),
        ("a: *x", "a is *x in line 1, and no value before it has the anchor &x"),
        ("a: &x [*x]", "a.0 is *x in line 1, and no value before it has the anchor &x"),
        ("a:\n  <<: 3", "a.<< merges a value that is no mapping"),
    ],
)
def test_other_documents_are_rejected_in_one_line(text: str | bytes, message: str) -> None:
    error = str(rejection(text))
    assert error.startswith(message)
    assert "\n" not in error


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("\ufeffa: 1", {"a": 1}),
        ("a: !!str 5", {"a": "5"}),
        ("a: [&x {b: 1}, *x]", {"a": [{"b": 1}, {"b": 1}]}),
        ("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  b: 3", {"a": {"b": 1, "c": 2},
                                                     "d": {"b": 3, "c": 2}}),
        ("x: &x {b: 1}\ny: &y {b: 2, c: 3}\nz: {<<: [*x, *y]}",
         {"x": {"b": 1}, "y": {"b": 2, "c": 3}, "z": {"b": 1, "c": 3}}),
        ("'<<': 3", {"<<": 3}),
    ],
)  # fmt: skip
def test_aliases_and_merge_keys_are_read_as_ray_reads_them(text: str, value: Any) -> None:
    assert parse_yaml(text.encode()) == value == yaml.safe_load(text)


@given(st.dictionaries(keys, values, min_size=1, max_size=4), st.data())
def test_a_key_that_is_set_twice_is_rejected_with_its_path(
    mapping: dict[str, Any], data: st.DataObject
) -> None:
    """Wherever the mapping is, and in block and in flow style."""
    key = data.draw(st.sampled_from(sorted(mapping)))
    inside = ", ".join(
        f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in mapping.items()
    )
    error = rejection(f"rule: [x, {{{inside}, {key}: 1}}]")
    assert str(error) == f"rule.1.{key} is set twice, in the lines 1 and 1: keep one"
    block = "".join(
        f"  {name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in mapping.items()
    )
    line = 2 + list(mapping).index(key)
    error = rejection(f"rule:\n{block}  '{key}': 2\n")
    assert str(error) == (
        f"rule.{key} is set twice, in the lines {line} and {2 + len(mapping)}: keep one"
    )


def test_merge_keys_are_set_once_and_override_nothing() -> None:
    error = rejection("a: &a {b: 1}\nc:\n  <<: *a\n  <<: *a")
    assert str(error) == "c.<< is set twice, in the lines 3 and 4: keep one"


def test_all_faults_are_found_up_to_ten() -> None:
    assert len(rejection("a: NO\nb: on\na: 5e-2").findings) == 4
    many = str(rejection("\n".join(f"k{n}: on" for n in range(40))))
    assert many.count("in line") <= 10
    assert many.endswith(" more")


class TestBounds:
    """A short text can ask for a lot of work."""

    def test_aliases_that_grow_exponentially(self) -> None:
        lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
        lines += [f"l{n}: &l{n} [{', '.join(9 * [f'*l{n - 1}'])}]" for n in range(1, 30)]
        assert f"more than {MAX_VALUES} values" in str(rejection("\n".join(lines)))

    @pytest.mark.parametrize("opening", ["[", "- ", "{a: ", "? "])
    def test_nesting(self, opening: str) -> None:
        assert f"more than {MAX_DEPTH} levels" in str(rejection(5000 * opening)) or opening == "? "

    def test_size(self) -> None:
        assert f"more than {MAX_BYTES} bytes" in str(rejection(b"#" * (MAX_BYTES + 1)))

    def test_many_values(self) -> None:
        assert f"more than {MAX_VALUES} values" in str(rejection("[" + MAX_VALUES * "1," + "]"))
