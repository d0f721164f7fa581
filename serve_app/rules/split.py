"""A share of the units to the candidate, everybody else to stable."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from serve_app.domain import Context, Plan, Pool, Reason
from serve_app.regions import GROUPS, members
from serve_app.rules.bucket import MAX_EXPERIMENT_CHARACTERS, bucket
from serve_app.rules.rule import Candidate, ExperimentTerms, Position, Rule

CEILING = 0.5  # of a canary
CAUTION = 0.35  # from here on a canary is warned of
MAX_TIMEOUT_S = 15.0


def _known_region(name: str) -> str:
    if members(name) is None:
        raise ValueError(
            f"is '{name[:50]}': expected an ISO 3166-1 alpha-2 code or one of {', '.join(GROUPS)}"
        )
    return name


ExperimentName = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=MAX_EXPERIMENT_CHARACTERS)
]
Region = Annotated[str, AfterValidator(_known_region)]
Timeout = Annotated[float, Field(gt=0, le=MAX_TIMEOUT_S)]


class Split(Rule):
    """Assigns each unit for good: the candidate has the buckets below the threshold, so that a
    growing weight sends nobody back.

    Attributes:
        experiment: Names it and salts the buckets.
        unit: Whom it assigns. Who does not say it gets stable and is in no comparison.
        regions: Countries or groups that it is about; everybody, if it has none.
        timeout_s: How long the candidate may take before stable answers in its place.
    """

    experiment: ExperimentName
    unit: Literal["user", "session"] = "user"
    regions: Annotated[list[Region], Field(min_length=1)] | None = None
    timeout_s: Timeout = 2.0

    def position(self, context: Context) -> Position:
        """See `Rule.position`."""
        unit = context.user if self.unit == "user" else context.session
        place = bucket(self.experiment, unit) if unit else None
        return Position(place, self.share)

    @property
    def candidate_replicas(self) -> Candidate:
        """See `Rule.candidate_replicas`."""
        return Candidate(self._versions[1], self._pool)

    @property
    def experiment_terms(self) -> ExperimentTerms:
        """See `Rule.experiment_terms`."""
        terms = {"kind": self.kind, "versions": list(self._versions), "unit": self.unit}
        return ExperimentTerms(self.experiment, terms)

    @property
    def _versions(self) -> tuple[str, str]:
        stable, candidate = self.versions.values()
        return stable, candidate

    @property
    def _pool(self) -> Pool:
        """Where the candidate answers."""
        return Pool.CANDIDATE

    @property
    @abstractmethod
    def obeys_tags(self) -> bool:
        """Whether `X-Canary` chooses the version."""

    def notes(self, context: Context) -> list[str]:
        """See `Rule.notes`."""
        return [] if self.obeys_tags else super().notes(context)

    def _assign(self, context: Context, *, ready: bool) -> Plan:
        if context.tag is not None and self.obeys_tags:
            return self._to_candidate(Reason.TAGGED) if context.tag else self._stay(Reason.TAGGED)
        if self._targeted is not None and context.region not in self._targeted:
            return self._stay(Reason.NOT_TARGETED)
        place = self._place(context)
        if place is None:
            return self._stay(Reason.NO_UNIT)
        if not ready:
            return self._stay(Reason.NOT_READY)
        return self._to_candidate(Reason.SPLIT) if place < self.share else self._stay(Reason.SPLIT)

    def _place(self, context: Context) -> float | None:
        return self.position(context).bucket

    def _stay(self, reason: Reason) -> Plan:
        return Plan(reason, Pool.STABLE, self._versions[0], by_id=self._by_id)

    def _to_candidate(self, reason: Reason) -> Plan:
        fallback = self._stay(Reason.FALLBACK)
        return Plan(reason, self._pool, self._versions[1], self._by_id, fallback, self.timeout_s)

    @property
    def _by_id(self) -> bool:
        return self._pool is Pool.STABLE  # one pool, two versions

    @cached_property
    def _targeted(self) -> frozenset[str] | None:
        if self.regions is None:
            return None
        return frozenset().union(*(members(region) or () for region in self.regions))
