from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from models.validation import (
    MAX_CHARACTERS,
    MAX_FINDINGS,
    Finding,
    describe_unknown_key,
    format_findings,
    join_findings,
    missing_key,
    nearest_of,
    quote,
    share_hint,
    write_number,
)

METRICS = "'complaint' or 'correct'"
NAMES = ["kind", "weight", "experiment", "regions", "stable", "candidate", "timeout_s", "settle"]


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    count: Annotated[int, Field(gt=0, lt=10)] = 1
    name: Annotated[str, Field(pattern="^v[0-9]+$")] = "v1"
    word: Annotated[str, Field(min_length=2, max_length=3)] = "ab"
    flag: bool = False
    metric: Literal["complaint", "correct"] = "correct"
    numbers: Annotated[list[int], Field(min_length=1, max_length=2)] = [1]
    by_name: dict[str, int] = {}
    even: Annotated[int, Field(multiple_of=2)] = 2
    keep_for: Annotated[str, Field(alias="for")] = "7d"

    @field_validator("even")
    @classmethod
    def _check(cls, value: int) -> int:
        if value == 8:
            raise ValueError("is 8: expected another number")
        return value


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    inner: Inner | None = None
    several: list[Inner] = []
    by_key: dict[str, Inner] = {}
    required: int = 0


class Required(BaseModel):
    model_config = ConfigDict(extra="forbid")

    weight: float
    stable: str


def text_of(content: Any, model: type[BaseModel] = Outer) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(content)
    return format_findings(caught.value, "document", model)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("share", "5%", "is '5%': expected a number; for 5 % write 0.05"),
        ("share", "2,5 %", "is '2,5 %': expected a number; for 2.5 % write 0.025"),
        ("share", "5e-2", "is '5e-2': expected a number; write 0.05 without quotes"),
        ("share", "0,05", "is '0,05': expected a number; write 0.05 without quotes"),
        ("share", "two", "is 'two': expected a number"),
        ("share", "nan", "is 'nan': expected a number"),
        ("share", 5, "is 5: expected at most 1; for 5 % write 0.05"),
        ("share", 500, "is 500: expected at most 1"),
        ("share", -1, "is -1: expected at least 0"),
        ("share", True, "is true: expected a number"),
        ("share", None, "is null: expected a number; give a value, or leave the key out"),
        ("share", [], "is an empty list: expected a number"),
        ("count", 0, "is 0: expected more than 0"),
        ("count", 10, "is 10: expected less than 10"),
        ("count", 2.0, "is 2.0: expected a whole number; write 2"),
        ("count", 2.5, "is 2.5: expected a whole number"),
        ("count", "two", "is 'two': expected a whole number"),
        ("name", 1001, 'is 1001: expected text; write it in quotes, "1001"'),
        ("name", False, 'is false: expected text; write it in quotes, "false"'),
        ("name", {"a": 1}, "is a mapping: expected text"),
        ("name", "2", "is '2': expected v and a number, such as v2"),
        ("name", "x\ny" + 60 * "z", f"is 'x\\ny{47 * 'z'}…': expected v and a number, such as v2"),
        ("word", "a", "is 'a': expected at least 2 characters"),
        ("word", "abcd", "is 'abcd': expected at most 3 characters"),
        ("flag", "yes", "is 'yes': expected true or false; write true without quotes"),
        ("flag", 0, "is 0: expected true or false; write false without quotes"),
        ("flag", "maybe", "is 'maybe': expected true or false"),
        ("metric", "Correct", f"is 'Correct': expected {METRICS}; did you mean correct?"),
        ("numbers", 7, "is 7: expected a list"),
        ("numbers", [], "is an empty list: expected at least 1 entry"),
        ("numbers", [1, 2, 3], "is a list: expected at most 2 entries"),
        ("by_name", [1], "is a list: expected a mapping"),
        ("even", 3, "is 3: expected a multiple of 2"),
        ("even", 8, "is 8: expected another number"),
    ],
)  # fmt: skip
def test_a_value_is_shown_as_it_was_read_with_what_was_expected(
    key: str, value: Any, message: str
) -> None:
    assert text_of({"inner": {key: value}}) == f"inner.{key} {message}"
    assert text_of({"several": [{}, {key: value}]}) == f"several.1.{key} {message}"


@pytest.mark.parametrize("path", ["inner", "several.0", "by_key.x"])
def test_an_unknown_key_is_found_at_every_place(path: str) -> None:
    content = {"inner": {"shar": 1}, "several": [{"shar": 1}], "by_key": {"x": {"shar": 1}}}
    part = path.partition(".")[0]
    text = text_of({part: content[part]})
    assert text == f"{path}.shar is not a key here: did you mean share?"


def test_the_keys_are_those_of_the_document() -> None:
    """A field may have another name in the code."""
    assert text_of({"inner": {"keep_for": "7d"}}).endswith(", even, for")


def test_an_unknown_key_comes_before_all_others_and_replaces_the_missing_one() -> None:
    text = text_of({"wieght": 0.1, "stable": 1}, Required)
    assert text == (
        "wieght is not a key here: did you mean weight?; stable is 1: expected text; write it in"
        ' quotes, "1"'
    )
    assert text_of({"colour": "red"}, Required) == (
        "colour is not a key here: the keys are weight, stable; weight is missing;"
        " stable is missing"
    )


def test_an_error_of_the_whole_document_has_its_name() -> None:
    assert text_of(7) == "document is 7: expected a mapping"


def test_without_a_model_the_nearest_key_is_one_of_the_missing_ones() -> None:
    with pytest.raises(ValidationError) as caught:
        Required.model_validate({"wieght": 0.1})
    assert format_findings(caught.value, "body") == (
        "wieght is not a key here: did you mean weight?; stable is missing"
    )


@given(st.sampled_from(NAMES), st.data())
def test_a_misspelt_key_gets_the_right_suggestion(name: str, data: st.DataObject) -> None:
    """One letter left out, doubled, replaced or exchanged with the next one."""
    at = data.draw(st.integers(0, len(name) - 2))
    misspelt = data.draw(
        st.sampled_from(
            [
                name[:at] + name[at + 1 :],
                name[: at + 1] + name[at:],
                name[:at] + "x" + name[at + 1 :],
                name[:at] + name[at + 1] + name[at] + name[at + 2 :],
                name.upper(),
                name.replace("_", "-"),
                f"{name}s",
            ]
        )
    )
    assert nearest_of(misspelt, NAMES) == name


def test_a_key_that_is_far_from_all_gets_the_list() -> None:
    assert describe_unknown_key("colour", ["a", "b"]) == "is not a key here: the keys are a, b"
    assert describe_unknown_key("colour", []) == "is not a key here"


def test_a_missing_key_is_the_one_that_is_meant_to_be_it() -> None:
    assert missing_key("rule", {"rle": 1}) == Finding(
        "rle", "is not a key here: did you mean rule?"
    )
    assert missing_key("rule", {"name": 1}) == Finding("rule", "is missing")


def test_many_findings_are_counted() -> None:
    findings = [Finding(f"key{n}", "is missing") for n in range(25)]
    text = join_findings(findings)
    assert text.startswith("key0 is missing; key1 is missing; ")
    assert text.endswith(f"; and {25 - MAX_FINDINGS} more")
    long = [Finding("key", n * "x") for n in (MAX_CHARACTERS + 5, 5)]
    assert join_findings(long) == f"key {long[0].message}; and 1 more"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_written_as_it_is_read(number: float) -> None:
    assert float(write_number(number)) == number


@given(st.text(max_size=200))
def test_a_quoted_text_is_one_short_line(text: str) -> None:
    shown = quote(text)
    assert shown.isprintable()
    assert len(shown) <= 510


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("5%", "for 5 % write 0.05"),
        (" 12.5 % ", "for 12.5 % write 0.125"),
        (50, "for 50 % write 0.5"),
        (1, None),
        (100.5, None),
        (True, None),
        ("five", None),
        (float("nan"), None),
    ],
)
def test_a_percentage_is_written_as_a_share(value: object, hint: str | None) -> None:
    assert share_hint(value) == hint
