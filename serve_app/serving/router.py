"""Which replica of a pool gets a call, where a pool holds two versions."""

from __future__ import annotations

import random
from typing import Any

from ray.serve.request_router import (
    FIFOMixin,
    MultiplexMixin,
    PendingRequest,
    RequestRouter,
    RunningReplica,
)

VERSION = "version"  # what a replica says of itself in its routing stats


class VersionRouter(FIFOMixin, MultiplexMixin, RequestRouter):
    """A call with a model id goes to the replicas that are assigned that version; to those that
    have it warm, and then to any, only while no replica is assigned it.

    Of the replicas that may answer, Serve asks two at random for the length of their queues
    (power of two choices, Mitzenmacher 1996).
    """

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """Ranks of replicas: Serve tries the first rank first."""
        wanted = pending_request.metadata.multiplexed_model_id if pending_request else ""
        if not wanted:
            return [_two_of(candidate_replicas)]
        assigned = [r for r in candidate_replicas if _stats(r).get(VERSION) == wanted]
        if assigned:
            return [_two_of(assigned)]
        warm = self.apply_multiplex_routing(pending_request)
        return [_two_of([r for r in candidate_replicas if r.replica_id in warm])]


def _two_of(replicas: list[RunningReplica]) -> list[RunningReplica]:
    return random.sample(replicas, min(2, len(replicas)))


def _stats(replica: RunningReplica) -> dict[str, Any]:
    return replica.routing_stats or {}
