"""What every request that changes something carries."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from fastapi import Header
from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _without_controls(text: str) -> str:
    """PostgreSQL stores no NUL, and in a list of changes one line is one change."""
    for place, character in enumerate(text):
        if unicodedata.category(character) == "Cc":
            raise ValueError(
                f"character {place + 1} is the control character U+{ord(character):04X}:"
                " expected one line of text"
            )
    return text


Line = Annotated[str, AfterValidator(_without_controls)]


class AuditFields(BaseModel):
    """Who changes something, and why; a line of text each."""

    model_config = ConfigDict(extra="forbid")

    actor: Line = Field(min_length=1, max_length=200)
    reason: Line = Field(max_length=1000)


Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Names this request: sent again within 24 hours, it gets the same answer and"
        " changes nothing more. With another body the key is rejected. What failed may be tried"
        " again under its key.",
        min_length=1,
        max_length=200,
        pattern="^[!-~]+$",
    ),
]
