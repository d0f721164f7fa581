"""The rule `shadow`: stable serves all requests, and the candidate gets copies of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serve_app.domain import Context, Plan, Pool, Reason
from serve_app.rules.review import ReviewSampling
from serve_app.rules.rule import Candidate, Rule, VersionName
from serve_app.rules.split import Timeout


class Shadow(Rule):
    """Stable serves all requests. The candidate gets copies; no response waits for it.

    Attributes:
        stable: The version of the stable pool, for readers of the rule, as in `Single`.
        candidate: The version that gets the copies.
        sample: The share of requests that is copied, above 0 to 1.
        max_in_flight: The most copied images that one ingress may have outstanding. A request
            that would exceed it is shed, unless no copy is outstanding.
        timeout_s: The timeout of a copy, in seconds.
        review: Which images are kept for review; by default none.
    """

    kind: Literal["shadow"]
    stable: VersionName
    candidate: VersionName
    sample: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_in_flight: Annotated[int, Field(ge=1, le=256)] = 32
    timeout_s: Timeout = 5.0
    review: ReviewSampling | None = None

    @property
    def versions(self) -> dict[str, str]:
        return {"stable": self.stable, "candidate": self.candidate}

    @property
    def candidate_replicas(self) -> Candidate:
        return Candidate(self.candidate, Pool.CANDIDATE)

    def _assign(self, context: Context, *, ready: bool) -> Plan:
        return Plan(Reason.STATIC)
