"""What one ingress process tells the store at once."""

from __future__ import annotations

from dataclasses import dataclass

from serve_app.domain import Exposure


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
    """Adoptions and exposures of one writer; never without both.

    The adoptions come first: each is delivered before or with the exposures that follow it.

    Attributes:
        last_sequence: The last number that the writer had given out.
        dropped: How many exposures it had dropped, since it started, because its buffer was full.
    """

    writer: str
    adoptions: tuple[Adoption, ...]
    exposures: tuple[Exposure, ...]
    last_sequence: int
    dropped: int
