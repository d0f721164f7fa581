"""What a rule decides on, and its decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a request got its version.

    Attributes:
        STATIC: The rule has one version.
        PINNED: `X-Model-Version` names the version.
        TAGGED: `X-Canary` decides.
        SPLIT: The bucket of the unit decides, or chance.
        NOT_TARGETED: The request is outside the rule's regions.
        NO_UNIT: The request lacks the header of the rule's unit, or its value is a placeholder.
        NOT_READY: The candidate has not been ready yet under this rule.
        FALLBACK: Assigned to the candidate, served by stable.
    """

    STATIC = "static"
    PINNED = "pinned"
    TAGGED = "tagged"
    SPLIT = "split"
    NOT_TARGETED = "not_targeted"
    NO_UNIT = "no_unit"
    NOT_READY = "not_ready"
    FALLBACK = "fallback"


class Pool(StrEnum):
    """The pools of replicas; the values are the names of their Serve deployments."""

    STABLE = "StablePool"
    CANDIDATE = "CandidatePool"


@dataclass(frozen=True, slots=True)
class Context:
    """The headers of a request that matter to a rule.

    Attributes:
        user, session: Keyed hashes; see `serve_app.privacy`.
        region: ISO 3166-1 alpha-2, upper case.
        tag: `X-Canary`: True for always, False for never.
        pin: `X-Model-Version`.
        draw: Uniform random number in [0, 1), one per request; None for a request of several
            images, which cannot be a unit.
    """

    request_id: str
    user: str | None = None
    session: str | None = None
    region: str | None = None
    tag: bool | None = None
    pin: str | None = None
    draw: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How to serve a request.

    Attributes:
        assigned: The version of the request; None for the version of any replica of the pool.
        sends_version: Whether the call names the version, as it must in a pool of several versions.
        fallback: The plan if this one fails; None if the failure is the response.
        timeout_s: The time before the fallback starts, s.
    """

    reason: Reason
    pool: Pool = Pool.STABLE
    assigned: str | None = None
    sends_version: bool = False
    fallback: Plan | None = None
    timeout_s: float = 0.0

    @property
    def version(self) -> str | None:
        """The version that the call names, if any."""
        return self.assigned if self.sends_version else None
