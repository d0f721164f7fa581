"""Fields of every write to `/control`: actor, reason and idempotency key."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from fastapi import Header
from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _reject_control_characters(text: str) -> str:
    """PostgreSQL stores no NUL, and the audit list shows one change per line."""
    for index, character in enumerate(text):
        if unicodedata.category(character) == "Cc":
            raise ValueError(
                f"character {index + 1} is the control character U+{ord(character):04X}:"
                " expected one line of text"
            )
    return text


TextLine = Annotated[str, AfterValidator(_reject_control_characters)]


class AuditFields(BaseModel):
    """Who makes a change, and why; one line of text each."""

    model_config = ConfigDict(extra="forbid")

    actor: TextLine = Field(min_length=1, max_length=200)
    reason: TextLine = Field(max_length=1000)


IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Identifies this request for 24 hours. Sending it again with the same key"
        " returns the same response and changes nothing; sending another body with the same key is"
        " rejected. A failed request may be repeated with its key.",
        min_length=1,
        max_length=200,
        pattern="^[!-~]+$",
    ),
]
