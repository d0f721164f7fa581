"""The base class of all rules."""

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
    """The candidate version of a rule.

    Attributes:
        pool: The pool of its replicas.
    """

    version: str
    pool: Pool


@dataclass(frozen=True, slots=True)
class ExperimentTerms:
    """The parts of a split that are fixed once it has served a request.

    Attributes:
        name: The experiment; it salts the buckets.
        terms: The kind, the versions and the unit, and the outcome of an A/B test.
    """

    name: str
    terms: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SplitPosition:
    """The position of a request in a split.

    Attributes:
        bucket: In [0, 1); None if each request is drawn at random, or if it has no unit.
        threshold: Buckets below it are served by the candidate.
    """

    bucket: float | None
    threshold: float


class Rule(BaseModel, ABC):
    """Chooses the version that serves a request.

    Attributes:
        allow_pin: A request may pin its version with `X-Model-Version`; otherwise such a request
            is rejected.
        trust_headers: Pins, tags and regions are read from the request's headers; otherwise they
            are ignored.
        reveal_version: Responses name the version; false makes an A/B test blind.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: str
    allow_pin: bool = False
    trust_headers: bool = True
    reveal_version: bool = True

    def plan(self, context: Context, *, ready: bool = True) -> Plan:
        """The version that serves a request.

        Args:
            ready: Whether the candidate has been ready under this rule; until then no unit is
                assigned to it.

        Raises:
            PinRejected: The request has a pin and the rule allows none.
        """
        if context.pin is None:
            return self._assign(context, ready=ready)
        if not self.allow_pin:
            raise PinRejected(
                f"the request is pinned to {context.pin}, and the rule in force allows no pins:"
                " leave X-Model-Version out, or set rule.allow_pin to true"
            )
        return Plan(Reason.PINNED, assigned=context.pin, sends_version=True)

    def header_notes(self, context: Context) -> list[str]:
        """Notes on headers of the request that the rule ignores."""
        if context.tag is None:
            return []
        return [f"X-Canary has no effect under the rule {self.kind}"]

    @abstractmethod
    def _assign(self, context: Context, *, ready: bool) -> Plan:
        """The version that serves a request without a pin."""

    @property
    @abstractmethod
    def versions(self) -> dict[str, str]:
        """The versions by their YAML keys; stable, or control, comes first."""

    @property
    def candidate_replicas(self) -> Candidate | None:
        """The candidate, if the rule has one."""
        return None

    @property
    def experiment_terms(self) -> ExperimentTerms | None:
        """The fixed terms, if the rule splits units."""
        return None

    @property
    def share(self) -> float:
        """The share of units that the candidate serves, 0 to 1."""
        return 0.0

    def split_position(self, context: Context) -> SplitPosition | None:
        """The position of a request in the split; None if the rule is not a split."""
        return None

    def warnings(self) -> list[str]:
        """Settings that are allowed and not recommended."""
        return []

    @cached_property
    def rule_id(self) -> str:
        """The first 8 hex digits of the SHA-256 of the canonical rule, defaults filled in."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:8]

    def canonical(self) -> str:
        """The rule as compact JSON with sorted keys; equal rules have equal texts."""
        return json.dumps(self.content(), sort_keys=True, separators=(",", ":"))

    def content(self) -> dict[str, Any]:
        """The rule as in the YAML, defaults filled in."""
        return self.model_dump(mode="json", by_alias=True)
