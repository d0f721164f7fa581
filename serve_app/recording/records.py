"""The records of requests, feedback and kept images; rows of the store."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

RETENTION_DAYS = 30  # exposures, shadow pairs, feedback; see `serve_app.store.retention`


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
        unit: The `unit` of its shadow pair.
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
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """A user's feedback on one prediction; a row of the store.

    Attributes:
        writer, sequence: Those of the exposure.
        at_ms: When it arrived, milliseconds since 1970 UTC.
        answered_at_ms, rule_id, assigned, answered: Time, rule, assigned version and label of the
            prediction, from the prediction id.
        label: The true label that the user reported, as its version writes it.
        rating: 1 to 5.
        unknown_label: What the user reported instead, if no version has that label.
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
    unknown_label: str | None = None
