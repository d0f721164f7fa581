"""The values that all parts of the package share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DATA_PLANE, CONTROL_PLANE = "animals", "control"  # the Serve applications
INGRESS = "Ingress"  # a deployment of the data plane; its user_config has the rule
CONTROLLER, CONTROL_API = "Controller", "ControlApi"  # the deployments of the control plane
RETENTION_DAYS = 30  # exposures, shadow pairs, feedback; see `serve_app.store.retention`


class Reason(StrEnum):
    """Why a request got its version.

    Attributes:
        STATIC: The rule has one version.
        PINNED: `X-Model-Version` names the version.
        TAGGED: `X-Canary` decides.
        SPLIT: The bucket of the unit decides, or chance.
        NOT_TARGETED: The request is outside the rule's regions.
        NO_UNIT: The request lacks the header of the rule's unit.
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


@dataclass(frozen=True, slots=True)
class Exposure:
    """One recorded prediction, or failure, for one image; a row of the store.

    Attributes:
        writer, sequence: The ingress process and its sequence number, from 1; the primary key.
        at_ms: When the prediction was ready, milliseconds since 1970 UTC.
        rule_id: See `serve_app.rules.rule.Rule.rule_id`.
        reason: Why the request was assigned its version, never `fallback`: a fallback has `served`
            and `error`.
        assigned: The version of the plan. None if the plan has none and no replica predicted.
        served: The version that predicted; None if none did.
        user, session: Keyed hashes, as in `Context`; None without the header.
        confidence: Probability of `label`, 0 to 1.
        latency_ms: From the request's arrival at the ingress to the prediction.
        model_ms: The network's time for the whole batch.
        error: The code of the assigned version's failure; None if the assigned version predicted.
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
        """`model_ms` of the assigned version; None if it failed, because stable served instead."""
        return self.model_ms if self.error is None else None


class CopyOutcome(StrEnum):
    """The outcome of copying a request."""

    COPIED = "copied"  # the candidate predicted
    FAILED = "failed"  # the candidate failed or timed out
    SHED = "shed"  # skipped under load, or because the circuit breaker is open


@dataclass(frozen=True, slots=True)
class ShadowPair:
    """An exposure and the candidate's copy of it; a row of the store.

    Attributes:
        writer, sequence, at_ms, region: Those of the exposure.
        live_version, live_label, live_model_ms, live_latency_ms: `served`, `label`, `model_ms` and
            `latency_ms` of the exposure.
        candidate: The version that got the copy.
        outcome: A `CopyOutcome`.
        probability: Of copying this image, above 0 to 1.
        label, confidence: The candidate's, as in an exposure; None unless it was copied.
        latency_ms: From the call to the candidate to its prediction; None if it was shed.
        model_ms: The network's time for the whole batch.
        error: The code of the failure, or why it was shed; None if it was copied.
        unit: The `user` of the exposure, or else its `session`.
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
    """An image with a prediction of both versions, kept for human review; a row of the store.

    Attributes:
        writer, sequence, at_ms, rule_id, region: Those of its shadow pair.
        expires_at_ms: When it is deleted, milliseconds since 1970 UTC.
        room: The most images that its rule keeps.
        probability: Of keeping a copied image of its kind, agreement or disagreement; above 0 to 1.
            The probability of copying it is in the pair.
        digest: Of the image as received, 64 hex digits; see `serve_app.privacy.image_cipher`.
        stable, live_label: The version that served the request, and its prediction.
        candidate, label: The version that got the copy, and its prediction.
        labels: Those of both versions, sorted.
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
    """A user's feedback on one prediction; a row of the store.

    Attributes:
        writer, sequence: Those of the exposure.
        at_ms: When it arrived, milliseconds since 1970 UTC.
        answered_at_ms, rule_id, assigned, answered: Time, rule, assigned version and label of the
            prediction, from the prediction id.
        label: The true label, as the user reports it.
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
