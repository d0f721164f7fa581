"""What one ingress process tells the store at once."""

from __future__ import annotations

from dataclasses import dataclass

from serve_app.domain import Exposure, Feedback, ShadowPair


@dataclass(frozen=True, slots=True)
class Adoption:
    """A writer says which rule it obeys from now on.

    Attributes:
        at_ms: Milliseconds since 1970 UTC.
        rule_id, rule: See `serve_app.rules.rule.Rule.rule_id` and `canonical`.
    """

    at_ms: int
    rule_id: str
    rule: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Adoptions, exposures, shadow pairs and feedback of one writer; never without any.

    The adoptions come first: each is delivered before or with the exposures that follow it.

    Attributes:
        last_sequence: The last number that the writer had given out.
        dropped: How many exposures it had dropped, since it started, because its buffer was full.
        dropped_pairs: How many shadow pairs, likewise.
    """

    writer: str
    adoptions: tuple[Adoption, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    pairs: tuple[ShadowPair, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    last_sequence: int = 0
    dropped: int = 0
    dropped_pairs: int = 0
