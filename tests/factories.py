"""Example rows and batches."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from serve_app.recording.batch import Adoption, Batch
from serve_app.recording.records import CopyOutcome, Exposure, Feedback, KeptImage, ShadowPair

WRITER = "0123456789ab"
OTHER_WRITER = "ba9876543210"

EXPOSURE = Exposure(
    writer=WRITER,
    sequence=1,
    at_ms=1_700_000_000_000,
    request_id="r-1",
    rule_id="aaaaaaaa",
    rule="canary_parallel",
    reason="split",
    assigned="v2",
    served="v1",
    user="c4" * 16,
    session="5e" * 16,
    region="AU",
    label="cat",
    confidence=0.875,
    latency_ms=4.25,
    model_ms=2.5,
    error="too_slow",
)

PAIR = ShadowPair(
    writer=WRITER,
    sequence=1,
    at_ms=1_700_000_000_250,
    rule_id="aaaaaaaa",
    candidate="v2",
    outcome="copied",
    probability=0.5,
    label="dog",
    confidence=0.75,
    latency_ms=6.5,
    model_ms=3.25,
    error="too_slow",
    region="NZ",
    live_version="v1",
    live_label="cat",
    live_model_ms=2.25,
    live_latency_ms=4.75,
    unit="c4" * 16,
)

FEEDBACK = Feedback(
    writer=WRITER,
    sequence=1,
    at_ms=1_700_000_060_000,
    answered_at_ms=1_700_000_000_000,
    rule_id="aaaaaaaa",
    assigned="v2",
    answered="cat",
    label="dog",
    correct=False,
    rating=2,
    complaint=True,
)

KEPT = KeptImage(
    writer=WRITER,
    sequence=1,
    at_ms=1_700_000_000_250,
    rule_id="aaaaaaaa",
    region="AU",
    expires_at_ms=1_700_000_600_250,
    room=10,
    probability=0.25,
    digest="d1" * 32,
    stable="v1",
    live_label="dog",
    candidate="v2",
    label="koala",
    labels=("cat", "dog", "koala"),
    encrypted=b"gAAAAA-encrypted",
    unit="c4" * 16,
)


def exposure(sequence: int, **changes: Any) -> Exposure:
    """An exposure with a sequence number."""
    return replace(EXPOSURE, sequence=sequence, **changes)


def pair(sequence: int, **changes: Any) -> ShadowPair:
    """A shadow pair with a sequence number."""
    return replace(PAIR, sequence=sequence, **changes)


def kept_image(sequence: int, **changes: Any) -> KeptImage:
    """A kept image with a sequence number; the digests are unique and descend with the numbers."""
    numbered: dict[str, Any] = {"sequence": sequence, "digest": f"{1000 - sequence:064x}"}
    return replace(KEPT, **numbered | changes)


def feedback(at_ms: int, **changes: Any) -> Feedback:
    """Feedback received at a time."""
    return replace(FEEDBACK, at_ms=at_ms, **changes)


def pair_of(live: Exposure, label: str | None, **changes: Any) -> ShadowPair:
    """The shadow pair of an exposure with the candidate's label; a failed copy if it is None."""
    fields: dict[str, Any] = {
        "writer": live.writer,
        "sequence": live.sequence,
        "at_ms": live.at_ms,
        "rule_id": live.rule_id,
        "candidate": "v2",
        "outcome": (CopyOutcome.COPIED if label else CopyOutcome.FAILED).value,
        "probability": 1.0,
        "label": label,
        "confidence": 0.5 if label else None,
        "latency_ms": 30.0,
        "model_ms": 6.0 if label else None,
        "error": None if label else "too_slow",
        "region": live.region,
        "live_version": live.served,
        "live_label": live.label,
        "live_model_ms": live.model_ms,
        "live_latency_ms": live.latency_ms,
        "unit": live.user or live.session,
    }
    return ShadowPair(**fields | changes)


def feedback_on(exposure: Exposure, after_ms: int, **content: Any) -> Feedback:
    """Feedback on an exposure; what `content` does not name is absent."""
    absent = {"label": None, "correct": None, "rating": None, "complaint": None}
    return Feedback(
        writer=exposure.writer,
        sequence=exposure.sequence,
        at_ms=exposure.at_ms + after_ms,
        answered_at_ms=exposure.at_ms,
        rule_id=exposure.rule_id,
        assigned=exposure.assigned,
        answered=exposure.label or "",
        **absent | content,
    )


def adoption(letter: str, at_ms: int) -> Adoption:
    """The adoption of a rule whose id is a letter, eight times."""
    return Adoption(at_ms, letter * 8, f'{{"kind":"single","name":"{letter}"}}')


def split_adoption(
    experiment: str = "k",
    unit: str = "user",
    at_ms: int = 0,
    rule_id: str = "aaaaaaaa",
    **keys: Any,
) -> Adoption:
    """The adoption of an A/B test."""
    versions = {"control": "v1", "treatment": "v2"}
    rule = {"kind": "ab_test", **versions, "experiment": experiment, "unit": unit} | keys
    return Adoption(at_ms, rule_id, json.dumps(rule))


def batch(
    *entries: Adoption | Exposure | ShadowPair | Feedback | KeptImage,
    writer: str = WRITER,
    last_sequence: int = 0,
    **dropped: int,
) -> Batch:
    """A batch. By default its last sequence number is the highest of its exposures.

    Args:
        dropped: `dropped` and `dropped_pairs` of the batch.
    """
    exposures = tuple(replace(e, writer=writer) for e in entries if isinstance(e, Exposure))
    return Batch(
        writer,
        adoptions=tuple(entry for entry in entries if isinstance(entry, Adoption)),
        exposures=exposures,
        pairs=tuple(replace(e, writer=writer) for e in entries if isinstance(e, ShadowPair)),
        feedback=tuple(entry for entry in entries if isinstance(entry, Feedback)),
        kept=tuple(entry for entry in entries if isinstance(entry, KeptImage)),
        last_sequence=last_sequence or max((e.sequence for e in exposures), default=0),
        **dropped,
    )
