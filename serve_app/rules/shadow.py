"""A shadow: what would the candidate do with the traffic of now?"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serve_app.domain import Context, Plan, Pool, Reason
from serve_app.rules.review import ReviewSampling
from serve_app.rules.rule import Candidate, Rule, VersionName
from serve_app.rules.split import Timeout


class Shadow(Rule):
    """Stable answers everybody; the candidate gets copies, and nobody waits for it.

    Attributes:
        stable: What the stable pool is assigned, for readers, as in `Single`.
        sample: The share of requests to copy, above 0 to 1.
        max_in_flight: Images that the candidate may owe one ingress; what would exceed that is
            shed, unless it owes none.
        timeout_s: How long it may take for a copy.
        review: Which images are kept; none, unless it says so.
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
        """See `Rule.versions`."""
        return {"stable": self.stable, "candidate": self.candidate}

    @property
    def candidate_replicas(self) -> Candidate:
        """See `Rule.candidate_replicas`."""
        return Candidate(self.candidate, Pool.CANDIDATE)

    def _assign(self, context: Context, *, ready: bool) -> Plan:
        return Plan(Reason.STATIC)
