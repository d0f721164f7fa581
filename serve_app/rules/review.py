"""Which images of a shadow are kept, so that people may say what they show."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_KEPT_DAYS = 30
_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _milliseconds(duration: str) -> int:
    return int(duration[:-1]) * _UNITS_MS[duration[-1]]


def _short(duration: str) -> str:
    if not re.fullmatch("[1-9][0-9]{0,5}[mhd]", duration):
        raise ValueError(f"is '{duration[:50]}': expected a number and m, h or d, such as 7d")
    if _milliseconds(duration) > MAX_KEPT_DAYS * _UNITS_MS["d"]:
        raise ValueError(f"is {duration}: an image is kept for {MAX_KEPT_DAYS}d at most")
    return duration


Share = Annotated[float, Field(ge=0, le=1)]


class ReviewSampling(BaseModel):
    """Which of the copied images are kept, for people to say what they show.

    Attributes:
        keep: How many at once.
        disagreements, agreements: The probability that an image is kept on which the versions
            disagree, or agree.
        for_: For how long: a number and m, h or d.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    keep: Annotated[int, Field(ge=1, le=1000)] = 200
    disagreements: Share = 1.0
    agreements: Share = 0.02
    for_: Annotated[str, AfterValidator(_short), Field(alias="for")] = "7d"

    @property
    def for_ms(self) -> int:
        """For how long, in milliseconds."""
        return _milliseconds(self.for_)
