"""The base class of all rules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, model_validator

from serve_app.digest import canonical_json, json_digest
from serve_app.errors import BadConfig, PinRejected
from serve_app.rules.plan import Context, Plan, Pool, Reason
from serve_app.rules.pools import PoolNeed, pool_of
from serve_app.rules.review import ReviewSampling
from serve_app.rules.validation import validate


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
    """The parts of an experiment that are fixed once it has served a request.

    Attributes:
        name: The experiment; it salts the buckets of a split.
        terms: The kind and the versions; the unit and the age of a split, and the outcome of an
            A/B test.
    """

    name: str
    terms: dict[str, Any]

    @property
    def digest(self) -> str:
        """16 hex digits that name the experiment in the store."""
        return json_digest({"experiment": self.name, **self.terms})[:16]


@dataclass(frozen=True, slots=True)
class MirrorSettings:
    """How requests are copied to the candidate; see `serve_app.rules.shadow.Shadow`."""

    sample: float
    max_in_flight: int
    timeout_s: float
    review: ReviewSampling | None


class Rule(BaseModel, ABC):
    """Chooses the version that serves a request.

    Each kind declares its arms, its pools, its share and its report; see `registry`.

    Attributes:
        report: The report that assesses it: `traffic`, `canary`, `ab` or `shadow`.
        arm_names: The YAML keys of its versions: stable, and the candidate if it has one.
        splits: It assigns units to its arms.
        stable: The version of all requests that the candidate does not serve.
        candidate: The version that is tried; None if the rule has one version.
        allow_pin: A request may pin its version with `X-Model-Version`; otherwise such a request
            is rejected.
        trust_headers: Pins, tags and regions are read from the request's headers; otherwise they
            are ignored.
        reveal_version: Responses name the version; false makes an A/B test blind.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    report: ClassVar[str]
    arm_names: ClassVar[tuple[str, ...]] = ("stable", "candidate")
    splits: ClassVar[bool] = False

    if TYPE_CHECKING:  # fields of most kinds, for which pydantic would take these as defaults

        @property
        def stable(self) -> str: ...

        @property
        def candidate(self) -> str | None: ...

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
    def pools(self) -> Mapping[Pool, PoolNeed]:
        """What the rule needs of each pool; a pool that it does not need is left out."""

    @property
    def versions(self) -> dict[str, str]:
        """The versions by their YAML keys, in the order of `arm_names`."""
        return {name: getattr(self, name) for name in self.arm_names}

    @cached_property
    def candidate_replicas(self) -> Candidate | None:
        """The candidate, if the rule has one."""
        if self.candidate is None:
            return None
        return Candidate(self.candidate, pool_of(self.candidate, self.pools))

    @property
    def mirror(self) -> MirrorSettings | None:
        """How requests are copied to the candidate; None if they are not."""
        return None

    @property
    def experiment_terms(self) -> ExperimentTerms | None:
        """The fixed terms; None if the rule compares no versions."""
        return None

    @property
    def share(self) -> float:
        """The share that the candidate gets, 0 to 1: of the units, or of the requests as copies."""
        return 0.0

    def with_share(self, share: float) -> Self:
        """The same rule with another share.

        Raises:
            BadConfig: The rule cannot have that share.
        """
        return validate(type(self), self.content() | self._share_keys(share), "rule")

    def _share_keys(self, share: float) -> dict[str, Any]:
        """The YAML keys that give the rule a share, with their values."""
        raise BadConfig("rule.kind", f"is {self.kind}: it has no share")

    def sentence(self) -> str:
        """Who gets which version."""
        return f"all requests get {self.stable}"

    def bucket(self, context: Context) -> float | None:
        """The bucket of a request in the split, in [0, 1): below `share`, the candidate serves it.

        None if the rule is no split, if the request has no unit, or if each one is drawn at random.
        """
        return None

    def warnings(self) -> list[str]:
        """Settings that are allowed and not recommended."""
        return []

    @model_validator(mode="after")
    def _check_versions(self) -> Self:
        if self.candidate == self.stable:
            raise BadConfig(
                self.arm_names[1], f"is {self.candidate}: the rule has that version already"
            )
        return self

    @cached_property
    def rule_id(self) -> str:
        """The first 8 hex digits of the SHA-256 of the canonical rule, defaults filled in."""
        return json_digest(self.content())[:8]

    def canonical(self) -> str:
        """The rule as compact JSON with sorted keys; equal rules have equal texts."""
        return canonical_json(self.content())

    def content(self) -> dict[str, Any]:
        """The rule as in the YAML, defaults filled in."""
        return self.model_dump(mode="json", by_alias=True)
