"""Which replica of a pool gets a call, where a pool holds two versions."""

from __future__ import annotations

import random
from typing import Any

from ray.serve.request_router import (
    MultiplexMixin,
    PendingRequest,
    RequestRouter,
    RunningReplica,
)

VERSION = "version"  # what a replica says of itself in its routing stats


class VersionRouter(MultiplexMixin, RequestRouter):
    """A call with a model id goes to the replicas that are assigned that version; to those that
    have it warm, and then to any, only while no replica is assigned it.

    Of the replicas that may answer, Serve asks two at random for the length of their queues
    (power of two choices, Mitzenmacher 1996).

    It is no `FIFOMixin`: with that, a replica that was found for a call without a model id goes to
    whichever call waits longest, and a pin would be answered by a replica of the other version.
    Without it, each call gets the replica that was found for it.
    """

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """Ranks of replicas: Serve tries the first rank first."""
        if pending_request is None:
            return [_two_of(candidate_replicas)]
        # Serve would else try again at once, and without end, while all of them are full.
        pending_request.routing_context.should_backoff = True
        wanted = pending_request.metadata.multiplexed_model_id
        if not wanted:
            return [_two_of(candidate_replicas)]
        assigned = [r for r in candidate_replicas if _stats(r).get(VERSION) == wanted]
        if assigned:
            return [_two_of(assigned)]
        warm = self.apply_multiplex_routing(pending_request)
        return [_two_of([r for r in candidate_replicas if r.replica_id in warm])]

    def _fulfill_next_pending_request(
        self, replica: RunningReplica, request_metadata: Any = None
    ) -> None:
        """Give a replica to the call that it was found for.

        Serve's 2.60 keeps a list of calls by model id, images and all, and forgets those that
        are done only when somebody looks for one.
        """
        super()._fulfill_next_pending_request(replica, request_metadata)
        self._get_pending_request_matching_multiplexed_model_id(request_metadata)


def _two_of(replicas: list[RunningReplica]) -> list[RunningReplica]:
    return random.sample(replicas, min(2, len(replicas)))


def _stats(replica: RunningReplica) -> dict[str, Any]:
    return replica.routing_stats or {}
