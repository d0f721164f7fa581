from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from models.validation import findings, sentence


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    numbers: list[int]


class Outer(BaseModel):
    inner: Inner


def rejected(content: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(content)
    return caught.value


def test_a_finding_has_the_path_to_its_key() -> None:
    exc = rejected({"inner": {"numbers": [1, "x"], "more": 1}})
    assert [path for path, _ in findings(exc, "root")] == ["inner.numbers.1", "inner.more"]


def test_what_is_wrong_with_the_whole_has_the_name_of_the_whole() -> None:
    assert findings(rejected(7), "user_config")[0][0] == "user_config"


def test_a_sentence_has_all_findings_in_one_line() -> None:
    text = sentence(rejected({"inner": {"more": 1}}), "root")
    assert text == "inner.numbers: Field required; inner.more: Extra inputs are not permitted"
