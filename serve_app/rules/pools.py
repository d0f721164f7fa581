"""What a pool is configured to do, and what a rule needs of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from serve_app.rules.plan import Pool
from serve_app.rules.validation import VersionName

MAX_REPLICAS = 1000  # of a pool


class Patch(BaseModel):
    """Assigns another version to the replicas with the highest ranks.

    Serve gives the ranks 0 to n - 1 to n replicas, so a pool that shrinks loses patched replicas
    first.

    Attributes:
        version: The version of the patched replicas.
        replicas: The number of patched replicas.
        of: The number of replicas of the pool.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: VersionName
    replicas: Annotated[int, Field(ge=1, le=MAX_REPLICAS)]
    of: Annotated[int, Field(ge=2, le=MAX_REPLICAS)]


class PoolConfig(BaseModel):
    """The `user_config` of a pool.

    Attributes:
        version: The version that the replicas are assigned.
        patch: The replicas that are assigned another version.
        background: The networks run at low priority, so that a shadow's copies do not slow live
            requests.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: VersionName
    patch: Patch | None = None
    background: bool = False

    def version_of_rank(self, rank: int) -> str:
        """The version of the replica with a rank, from 0."""
        if self.patch and rank >= self.patch.of - self.patch.replicas:
            return self.patch.version
        return self.version


@dataclass(frozen=True, slots=True)
class PoolNeed:
    """What a rule needs of a pool.

    Attributes:
        version: The version that the replicas are assigned.
        is_assigned: Requests are assigned `version`, so the pool must have it. Otherwise each
            replica answers with its own, as during a rolling update.
        patch: The replicas that are assigned another version.
        background: No user waits for the pool, so its networks may run at low priority.
        min_replicas: The fewest replicas that the pool may be scaled to.
        fixed_replicas: The number of replicas; None if the pool is autoscaled.
    """

    version: str
    is_assigned: bool = True
    patch: Patch | None = None
    background: bool = False
    min_replicas: int = 0
    fixed_replicas: int | None = None


def pool_of(version: str, pools: Mapping[Pool, PoolNeed]) -> Pool:
    """The pool that has a version of a rule, or else the patch with it."""
    patched = {need.patch.version: pool for pool, need in pools.items() if need.patch}
    return (patched | {need.version: pool for pool, need in pools.items()})[version]
