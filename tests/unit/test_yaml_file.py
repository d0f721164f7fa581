from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from models.strict_yaml import parse_yaml
from serve_app.errors import BadConfig
from serve_app.yaml_file import STDIN, dump_yaml, read_mapping

texts = st.text(max_size=12).filter(lambda text: text.isprintable()) | st.sampled_from(
    ["NO", "on", "5e-2", "1e3", "010", "0o10", "1_000", "12:30", "2026-11-23", "~", "=", "<<", ""]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(texts, values, max_size=4))
def test_what_is_written_is_read_again_also_by_ray(content: dict[str, Any]) -> None:
    text = dump_yaml(content)
    assert parse_yaml(text.encode()) == content
    assert yaml.safe_load(text) == content


def test_the_keys_keep_their_order() -> None:
    assert dump_yaml({"b": "NO", "a": {"c": 5e-7}}) == "b: 'NO'\na:\n  c: 5.0e-07\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "FILE is not a mapping, but empty: expected a rule"),
        (b"- a", "FILE is not a mapping, but a list: expected a rule"),
        (b"rule", "FILE is not a mapping, but 'rule': expected a rule"),
        (b"a: 1\na: 2", "a is set twice, in the lines 1 and 2: keep one"),
        (b"a: [", "FILE is not YAML: "),
        (b"a: NO", "a is NO in line 1, which Ray (YAML 1.1) reads as false and YAML 1.2 as 'NO'"),
    ],
)
@pytest.mark.parametrize("source", ["file", "stdin"])
def test_other_files_are_rejected_with_the_path_of_the_key_or_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, data: bytes, message: str
) -> None:
    path = STDIN if source == "stdin" else tmp_path / "rule.yaml"
    if source == "stdin":
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    else:
        path.write_bytes(data)
    with pytest.raises(BadConfig) as caught:
        read_mapping(path, "a rule")
    name = "standard input" if source == "stdin" else str(path)
    assert str(caught.value).startswith(message.replace("FILE", name))


def test_all_faults_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rule.yaml"
    path.write_text("a: NO\nb: 1\nb: 2")
    with pytest.raises(BadConfig) as caught:
        read_mapping(path)
    assert [finding.path for finding in caught.value.findings] == ["a", "b"]


def test_a_file_without_end_is_not_read_to_the_end() -> None:
    with pytest.raises(BadConfig, match=r"^/dev/zero has more than "):
        read_mapping(Path("/dev/zero"))
