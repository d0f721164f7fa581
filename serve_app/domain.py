"""The values that everyone shares."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DATA_PLANE, CONTROL_PLANE = "animals", "control"  # Serve's names of the two applications
INGRESS = "Ingress"  # and of the deployment that answers; its user_config is the rule
CONTROLLER, CONTROL_API = "Controller", "ControlApi"  # of the deployments of the control plane
ROWS_KEPT_DAYS = 30  # exposures, shadow pairs, feedback; see `serve_app.store.retention`


class Reason(StrEnum):
    """Why a request was given its version."""

    STATIC = "static"  # the rule has one version
    PINNED = "pinned"  # X-Model-Version
    TAGGED = "tagged"  # X-Canary
    SPLIT = "split"  # the unit's bucket, or chance
    NOT_TARGETED = "not_targeted"  # outside the rule's regions
    NO_UNIT = "no_unit"  # the request does not say whom to assign
    NOT_READY = "not_ready"  # the candidate could never answer yet under this rule
    FALLBACK = "fallback"  # assigned the candidate, answered by stable


class Pool(StrEnum):
    """The two pools of replicas; the values are Serve's names of the deployments."""

    STABLE = "StablePool"
    CANDIDATE = "CandidatePool"


@dataclass(frozen=True, slots=True)
class Context:
    """Who asks, as the request's headers tell.

    Attributes:
        user, session: Keyed hashes; see `serve_app.privacy`.
        region: ISO 3166-1 alpha-2, upper case.
        tag: What `X-Canary` says: True for always, False for never.
        pin: The version that `X-Model-Version` names.
        draw: Uniform in [0, 1), drawn for this request alone; None if it cannot be a unit by
            itself, because it is of several images.
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
    """Who shall answer.

    Attributes:
        assigned: The version that the request is given; None takes whatever a replica of the pool
            holds.
        by_id: Whether the version travels with the call, as it must where one pool answers with
            several.
        fallback: Who answers when this plan fails; None lets the failure be the answer.
        timeout_s: How long until the fallback answers.
    """

    reason: Reason
    pool: Pool = Pool.STABLE
    assigned: str | None = None
    by_id: bool = False
    fallback: Plan | None = None
    timeout_s: float = 0.0

    @property
    def version(self) -> str | None:
        """The version that travels with the call."""
        return self.assigned if self.by_id else None


@dataclass(frozen=True, slots=True)
class Exposure:
    """What one image of one request met; a row of the store.

    Attributes:
        writer, sequence: The ingress process and its count, from 1; together the primary key.
        at_ms: When the answer was ready, milliseconds since 1970 UTC.
        rule_id: See `serve_app.rules.rule.Rule.rule_id`.
        reason: Why it was assigned its version; a fallback shows in `served` and `error`.
        assigned: The version that the plan gave. None if the rule takes what a replica is
            assigned and no replica answered.
        served: The version that answered; None if none did.
        user, session: Keyed hashes, as in `Context`; None where the request named none.
        confidence: Probability of `label`, 0 to 1.
        latency_ms: From the request's arrival at the ingress to its answer.
        model_ms: The network's share of that, for the whole batch it ran in.
        error: Code of our own failure; with `served`, that of the assigned version, for which
            stable answered. None when the assigned version answered.
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

    @property
    def own_model_ms(self) -> float | None:
        """`model_ms` of the assigned version: what stable took in its place is no time of it."""
        return self.model_ms if self.error is None else None


class CopyOutcome(StrEnum):
    """What became of the copy of a request."""

    COPIED = "copied"  # the candidate answered
    FAILED = "failed"  # it did not, or not in time
    SHED = "shed"  # it was never asked, to spare it or the live answers


@dataclass(frozen=True, slots=True)
class ShadowPair:
    """What the candidate said of one image that stable answered; a row of the store.

    Attributes:
        writer, sequence: Those of the image's exposure.
        at_ms: That of the exposure, so that a minute's pairs are of that minute's answers.
        region: Where the live request came from, as in its exposure.
        live_version, live_label, live_model_ms, live_latency_ms: What `served`, `label`,
            `model_ms` and `latency_ms` of the exposure say of the live answer.
        candidate: The version that was asked.
        probability: With which this image was to be copied, above 0 to 1.
        label, confidence: As in an exposure; None unless it was copied.
        latency_ms: From the call to the candidate until its answer; None if it was shed.
        model_ms: The network's share of that.
        error: Why it was not copied: a code.
        unit: Who sent it: the `user` of the exposure, or else its `session`.
    """

    writer: str
    sequence: int
    at_ms: int
    rule_id: str
    candidate: str
    outcome: str
    probability: float
    label: str | None
    confidence: float | None
    latency_ms: float | None
    model_ms: float | None
    error: str | None
    region: str | None = None
    live_version: str | None = None
    live_label: str | None = None
    live_model_ms: float | None = None
    live_latency_ms: float | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class KeptImage:
    """An image that both versions answered, kept so that people may say what it shows.

    Attributes:
        writer, sequence, at_ms, rule_id, region: Those of its shadow pair.
        expires_at_ms: When it is to be gone, milliseconds since 1970 UTC.
        room: How many images there may be at once, says its rule.
        probability: With which a copied image of its kind, agreement or disagreement, was to
            be kept; above 0 to 1. With which it was to be copied, its pair says.
        digest: Of the image as it came, 64 hex digits; see `serve_app.privacy.image_cipher`.
        stable, live_label: The version that answered, and its answer.
        candidate, label: The version that got the copy, and what it said.
        labels: Those that either version knows, sorted.
        encrypted: A small JPEG; see `serve_app.privacy.image_cipher`.
    """

    writer: str
    sequence: int
    at_ms: int
    rule_id: str
    region: str | None
    expires_at_ms: int
    room: int
    probability: float
    digest: str
    stable: str
    live_label: str
    candidate: str
    label: str
    labels: tuple[str, ...]
    encrypted: bytes


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a user says of one answer; a row of the store.

    Attributes:
        writer, sequence: Those of the answer's exposure.
        at_ms: When it came, milliseconds since 1970 UTC.
        answered_at_ms, rule_id, assigned, answered: What the prediction id says of the answer:
            when, by which rule, the assigned version, the label.
        label: What the image shows, says the user.
        rating: 1 to 5.
    """

    writer: str
    sequence: int
    at_ms: int
    answered_at_ms: int
    rule_id: str
    assigned: str | None
    answered: str
    label: str | None
    correct: bool | None
    rating: int | None
    complaint: bool | None
