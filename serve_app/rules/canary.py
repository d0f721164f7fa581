"""Canaries: does the candidate work? Sticky, and never for more than half of the units."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from serve_app.domain import Pool
from serve_app.rules.rule import VersionName
from serve_app.rules.split import CAUTION, CEILING, Split


def _below_ceiling(weight: float) -> float:
    if not 0 <= weight <= CEILING:
        raise ValueError(f"is {weight:g}: a canary never exceeds {CEILING:g}, nor falls below 0")
    return weight


Weight = Annotated[float, AfterValidator(_below_ceiling)]


class Canary(Split):
    """Some units, and whoever is tagged, get the candidate.

    Attributes:
        stable, candidate: The versions.
    """

    stable: VersionName
    candidate: VersionName

    @property
    def versions(self) -> dict[str, str]:
        """See `Rule.versions`."""
        return {"stable": self.stable, "candidate": self.candidate}

    @property
    def obeys_tags(self) -> bool:
        """See `Split.obeys_tags`."""
        return True

    def warnings(self) -> list[str]:
        """See `Rule.warnings`."""
        if self.share <= CAUTION:
            return []
        return [f"the canary gets {self.share:g} of the units: ideally below {CAUTION:g}"]


class CanaryParallel(Canary):
    """The candidate has a small pool of its own beside the stable one.

    Attributes:
        weight: The share of identified units that gets the candidate, 0 to 0.5.
    """

    kind: Literal["canary_parallel"]
    weight: Weight

    @property
    def share(self) -> float:
        """See `Rule.share`."""
        return self.weight


class CanaryRolling(Canary):
    """Some replicas of the stable pool are patched to the candidate, in place, and held.

    Attributes:
        replicas: How many of them, at most half.
        of: How many the pool has; its size is frozen at that.
        weight: The share of identified units that gets the candidate; the patched replicas' share
            of the pool unless it is smaller.
    """

    kind: Literal["canary_rolling"]
    replicas: Annotated[int, Field(ge=1)]
    of: Annotated[int, Field(ge=2)]
    weight: Weight | None = None

    @property
    def share(self) -> float:
        """See `Rule.share`."""
        patched = self.replicas / self.of
        return patched if self.weight is None else min(self.weight, patched)

    def warnings(self) -> list[str]:
        """See `Rule.warnings`."""
        warnings = super().warnings()
        if self.weight is not None and self.weight > self.share:
            warnings.append(
                f"rule.weight is {self.weight:g}, and {self.replicas} of {self.of} replicas hold"
                f" the candidate: its share is {self.share:g}"
            )
        return warnings

    @property
    def _pool(self) -> Pool:
        return Pool.STABLE
