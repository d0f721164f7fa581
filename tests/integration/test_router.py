"""`VersionRouter` with fake replicas."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

with warnings.catch_warnings():  # deprecated pydantic features in Ray's classes
    warnings.simplefilter("ignore", DeprecationWarning)
    from ray.serve._private.common import (
        DeploymentHandleSource,
        DeploymentID,
        ReplicaID,
        RequestMetadata,
    )
    from ray.serve.request_router import PendingRequest

    from serve_app.serving.router import VERSION, VersionRouter

POOL = DeploymentID("StablePool", "animals")


class Replica:
    """A fake replica.

    Attributes:
        full_probes: How many of the first probes of its queue find it full.
        probes: The number of probes of its queue.
    """

    max_ongoing_requests = 1

    def __init__(self, name: str, version: str | None, *warm: str) -> None:
        self.full_probes = self.probes = 0
        self.replica_id = ReplicaID(name, POOL)
        self.routing_stats = {VERSION: version} if version else {}
        self.multiplexed_model_ids = {*warm, *([version] if version else [])}

    def __repr__(self) -> str:
        return str(self.replica_id.unique_id)

    async def get_queue_len(self, *, deadline_s: float) -> int:
        self.probes += 1
        await asyncio.sleep(0)
        return int(self.probes <= self.full_probes)


class Router(VersionRouter):
    """A router that chooses replicas and sends nothing."""

    def __init__(self, replicas: list[Any]) -> None:
        self._replicas = {replica.replica_id: replica for replica in replicas}
        self._replica_id_set = set(self._replicas)
        self._multiplexed_model_id_fallback_match: set[str] = set()
        self._update_multiplexed_model_ids_with_replicas(replicas)

    def choose(self, pending: Any) -> list[str]:
        """The names of the chosen replicas; there is exactly one rank."""
        (rank,) = asyncio.run(self.choose_replicas(list(self._replicas.values()), pending))
        return sorted(str(replica) for replica in rank)


def pending_call(version: str) -> Any:
    """A call that waits for a replica; the empty version stands for any."""
    context = SimpleNamespace(
        multiplexed_start_matching_time=None,
        tried_first_multiplexed_models=False,
        tried_fewest_multiplexed_models=False,
        should_backoff=False,
    )
    return SimpleNamespace(
        metadata=SimpleNamespace(multiplexed_model_id=version), routing_context=context
    )


@pytest.fixture
def patched() -> Router:
    """A pool of four replicas: two are patched to v2, and each has the other version warm."""
    return Router(
        [
            Replica("a", "v1", "v2"),
            Replica("b", "v1", "v2"),
            Replica("c", "v2", "v1"),
            Replica("d", "v2", "v1"),
        ]
    )


def choose_often(router: Router, version: str, times: int = 200) -> Iterator[list[str]]:
    return (router.choose(pending_call(version)) for _ in range(times))


@pytest.mark.parametrize(("version", "assigned"), [("v1", ["a", "b"]), ("v2", ["c", "d"])])
def test_a_call_goes_only_to_replicas_that_are_assigned_its_version(
    patched: Router, version: str, assigned: list[str]
) -> None:
    """The others have it warm, but only the patched replicas belong to the canary."""
    assert all(chosen == assigned for chosen in choose_often(patched, version))


def test_a_single_assigned_replica_gets_all_calls_of_its_version() -> None:
    router = Router([*(Replica(name, "v1", "v2") for name in "abcdef"), Replica("g", "v2")])
    assert all(chosen == ["g"] for chosen in choose_often(router, "v2"))


def test_two_random_eligible_replicas_are_chosen() -> None:
    """Power of two choices."""
    router = Router([Replica(name, "v1") for name in "abcdef"])
    for version in ("v1", ""):
        chosen = list(choose_often(router, version))
        assert {len(pair) for pair in chosen} == {2}
        assert {name for pair in chosen for name in pair} == set("abcdef")


def test_a_call_without_a_version_may_go_to_any_replica(patched: Router) -> None:
    assert {name for pair in choose_often(patched, "") for name in pair} == set("abcd")


def test_a_choice_without_a_pending_call_may_be_any_replica(patched: Router) -> None:
    assert len(patched.choose(None)) == 2


def test_a_warm_replica_is_chosen_while_none_is_assigned_the_version() -> None:
    """This happens between two patches; the prediction has the right version."""
    router = Router([Replica("a", "v1", "v2"), Replica("b", "v1"), Replica("c", "v1", "v3")])
    assert all(chosen == ["a"] for chosen in choose_often(router, "v2"))


def test_any_replica_is_chosen_while_none_has_the_version_warm() -> None:
    """Ray sends the first call to a replica; concurrent calls may need a second choice."""
    router = Router([Replica("a", "v1"), Replica("b", "v1")])
    assert router.choose(pending_call("v9"))
    for _ in range(20):
        pending = pending_call("v9")
        assert router.choose(pending) or router.choose(pending)


def test_a_call_that_warm_replicas_rejected_may_go_to_any_replica() -> None:
    router = Router([Replica("a", "v1", "v2"), Replica("b", "v1")])
    pending = pending_call("v2")
    assert router.choose(pending) == ["a"]
    seen = set()
    for _ in range(20):
        seen.update(router.choose(pending))
    assert "b" in seen


def test_a_replica_without_routing_stats_is_assigned_no_version() -> None:
    silent = Replica("b", None)
    silent.routing_stats = None  # type: ignore[assignment]  # its initial value
    router = Router([Replica("a", "v1"), silent])
    assert all(chosen == ["a"] for chosen in choose_often(router, "v1"))
    assert all(len(chosen) <= 2 for chosen in choose_often(router, ""))


class Routing:
    """Serve's routing with fake replicas."""

    def __init__(self, *replicas: Any) -> None:
        router_class: Any = VersionRouter
        self.router: VersionRouter = router_class(
            POOL,
            DeploymentHandleSource.REPLICA,
            initial_backoff_s=0.01,
        )
        self.router.update_replicas(list(replicas))
        self._number = count()

    async def route(self, version: str) -> tuple[str, str]:
        """Route a call; its version and the name of its replica."""
        number = f"call-{next(self._number)}"
        metadata = RequestMetadata(number, number, multiplexed_model_id=version)
        replica = await self.router._choose_replica_for_request(PendingRequest([], {}, metadata))
        return version, str(replica)


async def route_all(routing: Routing, versions: list[str]) -> dict[str, set[str]]:
    """Route concurrent calls; the names of their replicas by version."""
    async with asyncio.timeout(20):
        routed = await asyncio.gather(*map(routing.route, versions))
    return {
        version: {name for routed_version, name in routed if routed_version == version}
        for version in versions
    }


@pytest.mark.parametrize(("busy", "idle"), [("v1", "v2"), ("v2", "v1")])
def test_a_call_never_gets_the_replica_that_was_chosen_for_another(busy: str, idle: str) -> None:
    """Calls with and without a version wait in one queue."""

    async def scenario() -> None:
        right, wrong = Replica("right", busy, idle), Replica("wrong", idle, busy)
        right.full_probes = 6
        replicas = await route_all(Routing(right, wrong), 10 * [busy, "", "", idle])
        assert replicas == {busy: {"right"}, idle: {"wrong"}, "": {"right", "wrong"}}

    asyncio.run(scenario())


def test_routed_calls_are_removed() -> None:
    """A call holds its images."""

    async def scenario() -> None:
        routing = Routing(Replica("a", "v1"), Replica("b", "v2"))
        await route_all(routing, 20 * ["v1", "v2", ""])
        await asyncio.sleep(0)
        router = routing.router
        assert not router._pending_requests_to_fulfill
        assert not router._pending_requests_by_id
        assert not any(router._pending_requests_by_model_id.values())

    asyncio.run(scenario())


@pytest.mark.parametrize("version", ["v1", ""])
def test_full_replicas_are_probed_with_a_backoff(version: str) -> None:
    """A busy loop would slow the other requests of the process."""

    async def scenario() -> None:
        replica = Replica("a", "v1")
        replica.full_probes = 10**9
        routing = asyncio.create_task(Routing(replica).route(version))
        started_s = asyncio.get_running_loop().time()
        async with asyncio.timeout(60):
            while replica.probes <= 10:
                await asyncio.sleep(0.01)
        routing.cancel()
        assert asyncio.get_running_loop().time() - started_s > 0.3

    asyncio.run(scenario())
