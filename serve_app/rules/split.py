"""The base class of rules that assign a share of the units to the candidate."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from serve_app.durations import duration_ms
from serve_app.regions import describe_unknown_region, members
from serve_app.rules.bucket import MAX_EXPERIMENT_CHARACTERS, bucket
from serve_app.rules.plan import Context, Plan, Pool, Reason
from serve_app.rules.pools import PoolNeed, pool_of
from serve_app.rules.rule import ExperimentTerms, Rule
from serve_app.rules.settings import Settle

MAX_CANARY_SHARE = 0.5
LARGE_CANARY_SHARE = 0.35  # a canary above it gives a warning
MAX_TIMEOUT_S = 15.0


def _check_region(name: object) -> object:
    if not isinstance(name, str) or members(name) is None:
        raise ValueError(describe_unknown_region(name))
    return name


ExperimentName = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=MAX_EXPERIMENT_CHARACTERS)
]
Region = Annotated[str, BeforeValidator(_check_region)]
Timeout = Annotated[float, Field(gt=0, le=MAX_TIMEOUT_S)]


class Split(Rule):
    """Assigns units by their buckets: those below the threshold are served by the candidate.

    The assignment is sticky, and a larger weight moves no unit back to stable.

    Attributes:
        experiment: The name of the experiment; it salts the buckets.
        unit: What is assigned. A request without a unit is served by stable and is not compared.
        regions: The countries or groups that are eligible; None for all.
        settle: The age at which a unit counts in a verdict: what happens to it in this time after
            its first assignment decides; at most 30d.
        timeout_s: The candidate's timeout, in seconds; after it stable serves the request.
    """

    splits: ClassVar[bool] = True

    if TYPE_CHECKING:

        @property
        def candidate(self) -> str: ...

    experiment: ExperimentName
    unit: Literal["user", "session"] = "user"
    regions: Annotated[list[Region], Field(min_length=1)] | None = None
    settle: Settle = "24h"
    timeout_s: Timeout = 2.0

    def bucket(self, context: Context) -> float | None:
        unit = context.user if self.unit == "user" else context.session
        return bucket(self.experiment, unit) if unit else None

    @property
    def pools(self) -> Mapping[Pool, PoolNeed]:
        return {
            Pool.STABLE: PoolNeed(self.stable),
            Pool.CANDIDATE: PoolNeed(self.candidate, min_replicas=1),
        }

    @property
    def experiment_terms(self) -> ExperimentTerms:
        versions = list(self.versions.values())
        terms = {"kind": self.kind, "versions": versions, "unit": self.unit, "settle": self.settle}
        return ExperimentTerms(self.experiment, terms)

    @property
    def settle_ms(self) -> int:
        """The age at which a unit counts, in milliseconds."""
        return duration_ms(self.settle)

    def sentence(self) -> str:
        where = f" in {', '.join(self.regions)}" if self.regions else ""
        units = f"{100 * self.share:.3g} % of {self.unit}s{where}"
        return f"{units} get {self.candidate}, all others {self.stable}"

    def _share_keys(self, share: float) -> dict[str, Any]:
        return {"weight": share}

    @cached_property
    def _pool(self) -> Pool:
        """The pool of the candidate's replicas."""
        return pool_of(self.candidate, self.pools)

    @property
    @abstractmethod
    def accepts_tags(self) -> bool:
        """Whether `X-Canary` chooses the version."""

    def header_notes(self, context: Context) -> list[str]:
        return [] if self.accepts_tags else super().header_notes(context)

    def _assign(self, context: Context, *, ready: bool) -> Plan:
        if context.tag is not None and self.accepts_tags:
            plan = self._candidate_plan if context.tag else self._stable_plan
            return plan(Reason.TAGGED)
        if self._countries is not None and context.region not in self._countries:
            return self._stable_plan(Reason.NOT_TARGETED)
        value = self._split_value(context)
        if value is None:
            return self._stable_plan(Reason.NO_UNIT)
        if not ready:
            return self._stable_plan(Reason.NOT_READY)
        plan = self._candidate_plan if value < self.share else self._stable_plan
        return plan(Reason.SPLIT)

    def _split_value(self, context: Context) -> float | None:
        """The number in [0, 1) that is compared with the share; None without a unit."""
        return self.bucket(context)

    def _stable_plan(self, reason: Reason) -> Plan:
        return Plan(reason, Pool.STABLE, self.stable, sends_version=self._has_shared_pool)

    def _candidate_plan(self, reason: Reason) -> Plan:
        return Plan(
            reason,
            self._pool,
            self.candidate,
            self._has_shared_pool,
            self._stable_plan(Reason.FALLBACK),
            self.timeout_s,
        )

    @property
    def _has_shared_pool(self) -> bool:
        return self._pool is Pool.STABLE  # one pool with two versions

    @cached_property
    def _countries(self) -> frozenset[str] | None:
        """The countries of `regions`, as ISO 3166-1 alpha-2 codes."""
        if self.regions is None:
            return None
        return frozenset().union(*(members(region) or () for region in self.regions))
