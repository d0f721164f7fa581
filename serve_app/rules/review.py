"""Which images of a shadow are kept for review."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from serve_app.clock import DAY_MS
from serve_app.durations import Duration, duration_ms

MAX_KEPT_DAYS = 30


def _check_retention(duration: str) -> str:
    if duration_ms(duration) > MAX_KEPT_DAYS * DAY_MS:
        raise ValueError(f"is {duration}: expected at most {MAX_KEPT_DAYS}d")
    return duration


Share = Annotated[float, Field(ge=0, le=1)]


class ReviewSampling(BaseModel):
    """Which copied images are kept for review, and for how long.

    Attributes:
        keep: The largest number of images that are kept at the same time.
        disagreements: The probability that an image is kept if the versions disagree.
        agreements: The probability that an image is kept if the versions agree.
        for_: How long an image is kept: a number and s, m, h or d, at most 30d.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    keep: Annotated[int, Field(ge=1, le=1000)] = 200
    disagreements: Share = 1.0
    agreements: Share = 0.02
    for_: Annotated[Duration, AfterValidator(_check_retention), Field(alias="for")] = "7d"

    @property
    def retention_ms(self) -> int:
        """How long an image is kept, in milliseconds."""
        return duration_ms(self.for_)
