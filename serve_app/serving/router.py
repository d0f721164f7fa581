"""Serve's request router for pools whose replicas have two versions."""

from __future__ import annotations

import random
from typing import Any

from ray.serve.request_router import (
    MultiplexMixin,
    PendingRequest,
    RequestRouter,
    RunningReplica,
)

VERSION = "version"  # the key of the assigned version in a replica's routing stats


class VersionRouter(MultiplexMixin, RequestRouter):
    """Routes a call with a model id to the replicas that are assigned that version.

    Only while no replica is assigned the version, the call goes to a replica that has it warm, or
    else to any. Of the eligible replicas, Serve compares the queue lengths of two random ones
    (power of two choices, Mitzenmacher 1996).

    `FIFOMixin` is not used: it would give a replica that was chosen for a call without a model id
    to the call that has waited longest, which may need the other version.
    """

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """The eligible replicas, as one rank of at most two."""
        if pending_request is None:
            return [_sample_two(candidate_replicas)]
        # Without a backoff, Serve would retry in a busy loop while all replicas are full.
        pending_request.routing_context.should_backoff = True
        version = pending_request.metadata.multiplexed_model_id
        if not version:
            return [_sample_two(candidate_replicas)]
        assigned = [r for r in candidate_replicas if _routing_stats(r).get(VERSION) == version]
        if assigned:
            return [_sample_two(assigned)]
        warm = self.apply_multiplex_routing(pending_request)
        return [_sample_two([r for r in candidate_replicas if r.replica_id in warm])]

    def _fulfill_next_pending_request(
        self, replica: RunningReplica, request_metadata: Any = None
    ) -> None:
        """Give a replica to the call that it was chosen for.

        Serve 2.60 keeps calls, with their images, in a list by model id, and removes finished ones
        only when it searches the list: the second call does that.
        """
        super()._fulfill_next_pending_request(replica, request_metadata)
        self._get_pending_request_matching_multiplexed_model_id(request_metadata)


def _sample_two(replicas: list[RunningReplica]) -> list[RunningReplica]:
    return random.sample(replicas, min(2, len(replicas)))


def _routing_stats(replica: RunningReplica) -> dict[str, Any]:
    return replica.routing_stats or {}
