"""What one ingress process tells the store at once."""

from __future__ import annotations

from dataclasses import dataclass

from serve_app.domain import Exposure, Feedback, KeptImage, ShadowPair


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
    """What one writer tells; never nothing at all.

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
    kept: tuple[KeptImage, ...] = ()
    last_sequence: int = 0
    dropped: int = 0
    dropped_pairs: int = 0

    @property
    def rule_ids(self) -> set[str]:
        """The rules that its exposures, shadow pairs, images and feedback come from."""
        entries: tuple[Exposure | ShadowPair | KeptImage | Feedback, ...]
        entries = (*self.exposures, *self.pairs, *self.kept, *self.feedback)
        return {entry.rule_id for entry in entries}
