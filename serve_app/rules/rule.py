"""What every rule has in common."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from serve_app.domain import Context, Plan, Pool, Reason
from serve_app.errors import PinRefused

VersionName = Annotated[str, Field(pattern=r"^v[0-9]+$")]


class Rule(BaseModel, ABC):
    """Turns who asks into who answers.

    Attributes:
        allow_pin: `X-Model-Version` is obeyed; otherwise it is refused.
        trust_headers: Pins, tags and regions are read from the headers; otherwise they are
            ignored.
        reveal_version: Answers name the version; an A/B test that is to be blind says false.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: str
    allow_pin: bool = False
    trust_headers: bool = True
    reveal_version: bool = True

    def plan(self, context: Context) -> Plan:
        """Who answers this request.

        Raises:
            PinRefused: It has a pin that the rule does not allow.
        """
        if context.pin is None:
            return self._assign(context)
        if not self.allow_pin:
            raise PinRefused(
                f"the request is pinned to {context.pin}, and the rule in force allows no pins:"
                " leave X-Model-Version out, or set rule.allow_pin to true"
            )
        return Plan(Reason.PINNED, version=context.pin)

    def notes(self, context: Context) -> list[str]:
        """What a caller may wonder about: which of its headers this rule does not heed."""
        if context.tag is None:
            return []
        return [f"X-Canary has no effect under the rule {self.kind}"]

    @abstractmethod
    def _assign(self, context: Context) -> Plan:
        """Who answers a request without a pin."""

    @property
    @abstractmethod
    def versions(self) -> dict[str, str]:
        """The versions that it names, by their keys in the YAML."""

    @property
    def pools(self) -> tuple[Pool, ...]:
        """The pools that must have a replica before the service is ready."""
        return (Pool.STABLE,)

    @cached_property
    def rule_id(self) -> str:
        """The first 8 hex digits of the SHA-256 of the canonical rule, defaults filled in."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:8]

    def canonical(self) -> str:
        """The rule as JSON with sorted keys: equal rules, equal texts."""
        return json.dumps(self.content(), sort_keys=True, separators=(",", ":"))

    def content(self) -> dict[str, Any]:
        """As in the YAML, defaults filled in."""
        return self.model_dump(mode="json")
