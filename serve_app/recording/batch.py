"""The unit of delivery from an ingress process to the store."""

from __future__ import annotations

from dataclasses import dataclass

from serve_app.recording.records import Exposure, Feedback, KeptImage, ShadowPair


@dataclass(frozen=True, slots=True)
class Adoption:
    """The event that a writer starts to apply a rule.

    Attributes:
        at_ms: Milliseconds since 1970 UTC.
        rule_id, rule: See `serve_app.rules.rule.Rule.rule_id` and `canonical`.
    """

    at_ms: int
    rule_id: str
    rule: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries of one writer; never empty.

    An adoption is delivered before, or in the same batch as, the exposures under its rule.

    Attributes:
        last_sequence: The last sequence number that the writer has assigned.
        dropped: Exposures that the writer has dropped since it started, because its buffer was
            full.
        dropped_pairs: The same for shadow pairs.
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
        """The rules of its exposures, shadow pairs, images and feedback."""
        entries: tuple[Exposure | ShadowPair | KeptImage | Feedback, ...]
        entries = (*self.exposures, *self.pairs, *self.kept, *self.feedback)
        return {entry.rule_id for entry in entries}
