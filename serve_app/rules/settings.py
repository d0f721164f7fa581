"""Keys of rules on how an experiment is judged."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from serve_app.clock import DAY_MS
from serve_app.durations import Duration, duration_ms

MAX_SETTLE_DAYS = 30
MAX_LATENCY_TOLERANCE = 100.0


def _check_settle(duration: str) -> str:
    if duration_ms(duration) > MAX_SETTLE_DAYS * DAY_MS:
        raise ValueError(f"is {duration}: expected at most {MAX_SETTLE_DAYS}d")
    return duration


Settle = Annotated[Duration, AfterValidator(_check_settle)]
Share = Annotated[float, Field(gt=0, lt=1)]


class CanaryTolerances(BaseModel):
    """By how much the candidate of a canary may be worse than stable.

    Attributes:
        failures: The tolerated difference in the share of units with a failure, above 0, below 1.
        latency: The tolerated difference in mean latency and in mean model time, as a share of
            stable's, above 0, at most 100.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    failures: Share = 0.01
    latency: Annotated[float, Field(gt=0, le=MAX_LATENCY_TOLERANCE)] = 0.1


class ShadowTolerances(BaseModel):
    """What is tolerated of the candidate of a shadow.

    Attributes:
        failures: The tolerated share of copies that fail, above 0, below 1.
        disagreement: The tolerated share of other labels than stable's, among predictions of a
            label that both versions know; above 0, below 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    failures: Share = 0.01
    disagreement: Share = 0.1
