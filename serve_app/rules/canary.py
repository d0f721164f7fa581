"""The rules `canary_parallel` and `canary_rolling`: a sticky share of units, at most half."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from models.validation import share_hint
from serve_app.errors import BadConfig
from serve_app.rules.plan import Pool
from serve_app.rules.pools import MAX_REPLICAS, Patch, PoolNeed
from serve_app.rules.settings import CanaryTolerances
from serve_app.rules.split import LARGE_CANARY_SHARE, MAX_CANARY_SHARE, Split
from serve_app.rules.validation import VersionName

_SHARE_TOLERANCE = 1e-6  # so that a third may be given as 0.333333


def _check_weight(weight: float) -> float:
    if not 0 <= weight <= MAX_CANARY_SHARE:
        hint = f"; {how}" if (how := share_hint(weight)) else ""
        raise ValueError(f"is {weight:g}: expected 0 to {MAX_CANARY_SHARE:g} for a canary{hint}")
    return weight


Weight = Annotated[float, AfterValidator(_check_weight)]


class Canary(Split):
    """Some units, and requests with the tag `always`, are served by the candidate.

    Attributes:
        stable: The version of all other requests.
        candidate: The version that is tried.
        tolerances: By how much the candidate may be worse.
    """

    report: ClassVar[str] = "canary"

    stable: VersionName
    candidate: VersionName
    tolerances: CanaryTolerances = CanaryTolerances()

    @property
    def accepts_tags(self) -> bool:
        return True

    def warnings(self) -> list[str]:
        if self.share <= LARGE_CANARY_SHARE:
            return []
        share, most = self.share, LARGE_CANARY_SHARE
        return [f"the canary gets {share:g} of the units: at most {most:g} is recommended"]


class CanaryParallel(Canary):
    """The candidate runs in a small pool next to the stable pool.

    Attributes:
        weight: The share of identified units that is served by the candidate, 0 to 0.5.
    """

    kind: Literal["canary_parallel"]
    weight: Weight

    @property
    def share(self) -> float:
        return self.weight


class CanaryRolling(Canary):
    """Some replicas of the stable pool are patched to the candidate, in place.

    Attributes:
        replicas: The number of patched replicas, at most half of `of`.
        of: The number of replicas of the pool; its size is fixed to it.
        weight: The share of identified units that is served by the candidate, 0 to 0.5. The
            patched share of the pool is its default and its upper bound.
    """

    kind: Literal["canary_rolling"]
    replicas: Annotated[int, Field(ge=1, le=MAX_REPLICAS)]
    of: Annotated[int, Field(ge=2, le=MAX_REPLICAS)]
    weight: Weight | None = None

    @property
    def share(self) -> float:
        patched = self.replicas / self.of
        return patched if self.weight is None else min(self.weight, patched)

    def warnings(self) -> list[str]:
        warnings = super().warnings()
        if self.weight is not None and self.weight > self.share:
            warnings.append(
                f"rule.weight is {self.weight:g}, but {self.replicas} of {self.of} replicas hold"
                f" the candidate: its share is {self.share:g}"
            )
        return warnings

    @property
    def pools(self) -> Mapping[Pool, PoolNeed]:
        patch = Patch(version=self.candidate, replicas=self.replicas, of=self.of)
        return {Pool.STABLE: PoolNeed(self.stable, patch=patch, fixed_replicas=self.of)}

    def _share_keys(self, share: float) -> dict[str, Any]:
        for replicas in range(1, self.of // 2 + 1):
            if abs(replicas / self.of - share) < _SHARE_TOLERANCE:
                return {"replicas": replicas, "weight": None}
        raise BadConfig(
            "rule.weight",
            f"is {share:g}: expected a whole number of the {self.of} replicas, at most half",
        )

    @model_validator(mode="after")
    def _check_replicas(self) -> Self:
        if 2 * self.replicas > self.of:
            raise BadConfig(
                "replicas", f"is {self.replicas} of {self.of}: expected at most half for a canary"
            )
        return self
