"""The values that everyone shares."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a request was given its version."""

    STATIC = "static"  # the rule has one version
    PINNED = "pinned"  # X-Model-Version
    TAGGED = "tagged"  # X-Canary
    SPLIT = "split"  # the unit's bucket, or chance
    NOT_TARGETED = "not_targeted"  # outside the rule's regions
    NO_UNIT = "no_unit"  # the request does not say whom to assign
    NOT_READY = "not_ready"  # the candidate's pool has no replica
    FALLBACK = "fallback"  # assigned the candidate, answered by stable


class Pool(StrEnum):
    """The two pools of replicas; the values are Serve's names of the deployments."""

    STABLE = "StablePool"
    CANDIDATE = "CandidatePool"


@dataclass(frozen=True, slots=True)
class Context:
    """Who asks, as the request's headers tell.

    Attributes:
        user, session: Keyed hashes; see `serve_app.identity`.
        region: ISO 3166-1 alpha-2, upper case.
        tag: What `X-Canary` says: True for always, False for never.
        pin: The version that `X-Model-Version` names.
    """

    request_id: str
    user: str | None = None
    session: str | None = None
    region: str | None = None
    tag: bool | None = None
    pin: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Who shall answer.

    Attributes:
        version: The version that travels with the call; None takes whatever a replica of the
            pool is assigned.
    """

    reason: Reason
    pool: Pool = Pool.STABLE
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Exposure:
    """What one picture of one request met; a row of the store.

    Attributes:
        writer, sequence: The ingress process and its count, from 1; together the primary key.
        at_ms: When the answer was ready, milliseconds since 1970 UTC.
        rule_id: See `serve_app.rules.rule.Rule.rule_id`.
        assigned: The version that the plan gave. None if the rule takes what a replica is
            assigned and no replica answered.
        served: The version that answered; None if none did.
        unit: Keyed hash of whom the rule assigns; None if it assigns no one.
        confidence: Probability of `label`, 0 to 1.
        latency_ms: From the request's arrival at the ingress to its answer.
        model_ms: The network's share of that, for the whole batch it ran in.
        error: Code of our own failure; None when it was answered.
    """

    writer: str
    sequence: int
    at_ms: int
    request_id: str
    rule_id: str
    rule: str
    reason: str
    assigned: str | None
    served: str | None
    user: str | None
    session: str | None
    region: str | None
    label: str | None
    confidence: float | None
    latency_ms: float
    model_ms: float | None
    error: str | None
