"""Which images of a shadow are kept for review."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_KEPT_DAYS = 30
_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _duration_ms(duration: str) -> int:
    return int(duration[:-1]) * _UNITS_MS[duration[-1]]


def _check_duration(duration: str) -> str:
    if not re.fullmatch("[1-9][0-9]{0,5}[mhd]", duration):
        raise ValueError(f"is '{duration[:50]}': expected a number and m, h or d, such as 7d")
    if _duration_ms(duration) > MAX_KEPT_DAYS * _UNITS_MS["d"]:
        raise ValueError(f"is {duration}: expected at most {MAX_KEPT_DAYS}d")
    return duration


Share = Annotated[float, Field(ge=0, le=1)]


class ReviewSampling(BaseModel):
    """Which copied images are kept for review, and for how long.

    Attributes:
        keep: The largest number of images that are kept at the same time.
        disagreements: The probability that an image is kept if the versions disagree.
        agreements: The probability that an image is kept if the versions agree.
        for_: How long an image is kept: a number and m, h or d, at most 30d.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    keep: Annotated[int, Field(ge=1, le=1000)] = 200
    disagreements: Share = 1.0
    agreements: Share = 0.02
    for_: Annotated[str, AfterValidator(_check_duration), Field(alias="for")] = "7d"

    @property
    def retention_ms(self) -> int:
        """How long an image is kept, in milliseconds."""
        return _duration_ms(self.for_)
