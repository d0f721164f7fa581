from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from models.validation import findings, format_findings


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    numbers: list[int]


class Outer(BaseModel):
    inner: Inner


def validation_error(content: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(content)
    return caught.value


def test_a_finding_has_the_path_of_its_key() -> None:
    exc = validation_error({"inner": {"numbers": [1, "x"], "more": 1}})
    assert [path for path, _ in findings(exc, "root")] == ["inner.numbers.1", "inner.more"]


def test_an_error_of_the_whole_document_has_the_root_name() -> None:
    assert findings(validation_error(7), "user_config")[0][0] == "user_config"


def test_format_findings_joins_all_findings_in_one_line() -> None:
    text = format_findings(validation_error({"inner": {"more": 1}}), "root")
    assert text == "inner.numbers: Field required; inner.more: Extra inputs are not permitted"
