"""What every rule has in common."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from serve_app.domain import Context, Plan, Pool, Reason
from serve_app.errors import PinRejected

VersionName = Annotated[str, Field(pattern=r"^v[0-9]+$")]


@dataclass(frozen=True, slots=True)
class Candidate:
    """The version that a rule tries beside the stable one.

    Attributes:
        pool: Where its replicas are.
    """

    version: str
    pool: Pool


@dataclass(frozen=True, slots=True)
class ExperimentTerms:
    """What a split is fixed to for good, once a request was answered by it.

    Attributes:
        name: It salts the buckets.
        terms: The kind, the versions and the unit, and what decides an A/B test: under one name,
            these never change.
    """

    name: str
    terms: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a request stands in a split.

    Attributes:
        bucket: In [0, 1); None where chance decides, or nobody is known to ask.
        threshold: Buckets below it get the candidate.
    """

    bucket: float | None
    threshold: float


class Rule(BaseModel, ABC):
    """Turns who asks into who answers.

    Attributes:
        allow_pin: `X-Model-Version` is obeyed; otherwise it is rejected.
        trust_headers: Pins, tags and regions are read from the headers; otherwise they are
            ignored.
        reveal_version: Answers name the version; an A/B test that is to be blind says false.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: str
    allow_pin: bool = False
    trust_headers: bool = True
    reveal_version: bool = True

    def plan(self, context: Context, *, ready: bool = True) -> Plan:
        """Who answers this request.

        Args:
            ready: Whether the candidate has ever been able to answer under this rule; until then
                nobody is sent there.

        Raises:
            PinRejected: It has a pin that the rule does not allow.
        """
        if context.pin is None:
            return self._assign(context, ready=ready)
        if not self.allow_pin:
            raise PinRejected(
                f"the request is pinned to {context.pin}, and the rule in force allows no pins:"
                " leave X-Model-Version out, or set rule.allow_pin to true"
            )
        return Plan(Reason.PINNED, assigned=context.pin, by_id=True)

    def notes(self, context: Context) -> list[str]:
        """What a caller may wonder about: which of its headers this rule does not heed."""
        if context.tag is None:
            return []
        return [f"X-Canary has no effect under the rule {self.kind}"]

    @abstractmethod
    def _assign(self, context: Context, *, ready: bool) -> Plan:
        """Who answers a request without a pin."""

    @property
    @abstractmethod
    def versions(self) -> dict[str, str]:
        """The versions that it names, by their keys in the YAML; stable, or control, first."""

    @property
    def candidate_replicas(self) -> Candidate | None:
        """Whom it tries beside the stable version, if anybody."""
        return None

    @property
    def experiment_terms(self) -> ExperimentTerms | None:
        """What it is fixed to, if it splits units."""
        return None

    @property
    def share(self) -> float:
        """The share of units, or of requests, whose answers come from the candidate."""
        return 0.0

    def position(self, context: Context) -> Position | None:
        """Where a request stands in the split; None if the rule splits nothing."""
        return None

    def warnings(self) -> list[str]:
        """What is allowed and seldom wise."""
        return []

    @cached_property
    def rule_id(self) -> str:
        """The first 8 hex digits of the SHA-256 of the canonical rule, defaults filled in."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:8]

    def canonical(self) -> str:
        """The rule as JSON with sorted keys: equal rules, equal texts."""
        return json.dumps(self.content(), sort_keys=True, separators=(",", ":"))

    def content(self) -> dict[str, Any]:
        """As in the YAML, defaults filled in."""
        return self.model_dump(mode="json", by_alias=True)
