"""Which replicas a call may go to, with replicas that are not Ray's."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

with warnings.catch_warnings():  # pydantic's, of Ray's own classes
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
    """What the router knows of one.

    Attributes:
        full: How often it says that it is, before it takes a call.
        asked: How often it was asked for the length of its queue.
    """

    max_ongoing_requests = 1

    def __init__(self, name: str, version: str | None, *warm: str) -> None:
        self.full = self.asked = 0
        self.replica_id = ReplicaID(name, POOL)
        self.routing_stats = {VERSION: version} if version else {}
        self.multiplexed_model_ids = {*warm, *([version] if version else [])}

    def __repr__(self) -> str:
        return str(self.replica_id.unique_id)

    async def get_queue_len(self, *, deadline_s: float) -> int:
        self.asked += 1
        await asyncio.sleep(0)
        return int(self.asked <= self.full)


class Router(VersionRouter):
    """Chooses, and routes nothing."""

    def __init__(self, replicas: list[Any]) -> None:
        self._replicas = {replica.replica_id: replica for replica in replicas}
        self._replica_id_set = set(self._replicas)
        self._multiplexed_model_id_fallback_match: set[str] = set()
        self._update_multiplexed_model_ids_with_replicas(replicas)

    def chosen(self, pending: Any) -> list[str]:
        """One choice; there is one rank, for nobody else may answer."""
        (rank,) = asyncio.run(self.choose_replicas(list(self._replicas.values()), pending))
        return sorted(str(replica) for replica in rank)


def call(version: str) -> Any:
    """A call that waits for a replica; without a version any will do."""
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
    """A pool of four of which two are patched to v2; each has the other version warm."""
    return Router(
        [
            Replica("a", "v1", "v2"),
            Replica("b", "v1", "v2"),
            Replica("c", "v2", "v1"),
            Replica("d", "v2", "v1"),
        ]
    )


def often(router: Router, version: str, times: int = 200) -> Iterator[list[str]]:
    return (router.chosen(call(version)) for _ in range(times))


@pytest.mark.parametrize(("version", "assigned"), [("v1", ["a", "b"]), ("v2", ["c", "d"])])
def test_a_version_goes_to_the_replicas_that_are_assigned_it_and_to_no_other(
    patched: Router, version: str, assigned: list[str]
) -> None:
    """The others have it warm, and must not answer: who is patched is what the canary shows."""
    assert all(chosen == assigned for chosen in often(patched, version))


def test_one_of_many_is_enough_to_keep_the_others_out() -> None:
    router = Router([*(Replica(name, "v1", "v2") for name in "abcdef"), Replica("g", "v2")])
    assert all(chosen == ["g"] for chosen in often(router, "v2"))


def test_of_many_that_may_answer_two_are_asked_and_each_gets_its_turn() -> None:
    """Power of two choices."""
    router = Router([Replica(name, "v1") for name in "abcdef"])
    for version in ("v1", ""):
        chosen = list(often(router, version))
        assert {len(pair) for pair in chosen} == {2}
        assert {name for pair in chosen for name in pair} == set("abcdef")


def test_a_call_without_a_version_may_go_to_any(patched: Router) -> None:
    assert {name for pair in often(patched, "") for name in pair} == set("abcd")


def test_so_may_one_that_nobody_waits_for(patched: Router) -> None:
    assert len(patched.chosen(None)) == 2


def test_while_nobody_is_assigned_the_version_those_that_have_it_warm_answer() -> None:
    """Between two patches: the answer comes, and with the right version."""
    router = Router([Replica("a", "v1", "v2"), Replica("b", "v1"), Replica("c", "v1", "v3")])
    assert all(chosen == ["a"] for chosen in often(router, "v2"))


def test_where_nobody_has_it_warm_somebody_loads_it() -> None:
    """Ray has the first call load it, and lets those beside it wait for one more choice."""
    router = Router([Replica("a", "v1"), Replica("b", "v1")])
    assert router.chosen(call("v9"))
    for _ in range(20):
        waiting = call("v9")
        assert router.chosen(waiting) or router.chosen(waiting)


def test_a_call_that_was_rejected_by_the_warm_ones_may_go_on_to_any() -> None:
    router = Router([Replica("a", "v1", "v2"), Replica("b", "v1")])
    waiting = call("v2")
    assert router.chosen(waiting) == ["a"]
    seen = set()
    for _ in range(20):
        seen.update(router.chosen(waiting))
    assert "b" in seen


def test_a_replica_that_has_said_nothing_of_itself_yet_is_assigned_nothing() -> None:
    silent = Replica("b", None)
    silent.routing_stats = None  # type: ignore[assignment]  # so it is at first
    router = Router([Replica("a", "v1"), silent])
    assert all(chosen == ["a"] for chosen in often(router, "v1"))
    assert all(len(chosen) <= 2 for chosen in often(router, ""))


class Routing:
    """Serve's own routing, over replicas that are not Ray's."""

    def __init__(self, *replicas: Any) -> None:
        make: Any = VersionRouter
        self.router: VersionRouter = make(
            POOL,
            DeploymentHandleSource.REPLICA,
            initial_backoff_s=0.01,
        )
        self.router.update_replicas(list(replicas))
        self._number = count()

    async def route(self, version: str) -> tuple[str, str]:
        """The version, and the replica that a call of it is given."""
        number = f"call-{next(self._number)}"
        metadata = RequestMetadata(number, number, multiplexed_model_id=version)
        replica = await self.router._choose_replica_for_request(PendingRequest([], {}, metadata))
        return version, str(replica)


async def replicas_given(routing: Routing, versions: list[str]) -> dict[str, set[str]]:
    """To calls that wait at the same time, by their version."""
    async with asyncio.timeout(20):
        routed = await asyncio.gather(*map(routing.route, versions))
    return {wanted: {name for version, name in routed if version == wanted} for wanted in versions}


@pytest.mark.parametrize(("busy", "idle"), [("v1", "v2"), ("v2", "v1")])
def test_a_call_is_never_given_the_replica_that_was_found_for_another(busy: str, idle: str) -> None:
    """Pins, which wait for their version, stand in one queue with calls that any may answer."""

    async def scenario() -> None:
        right, wrong = Replica("right", busy, idle), Replica("wrong", idle, busy)
        right.full = 6
        given = await replicas_given(Routing(right, wrong), 10 * [busy, "", "", idle])
        assert given == {busy: {"right"}, idle: {"wrong"}, "": {"right", "wrong"}}

    asyncio.run(scenario())


def test_what_was_routed_is_not_kept() -> None:
    """A call has images with it."""

    async def scenario() -> None:
        routing = Routing(Replica("a", "v1"), Replica("b", "v2"))
        await replicas_given(routing, 20 * ["v1", "v2", ""])
        await asyncio.sleep(0)
        router = routing.router
        assert not router._pending_requests_to_fulfill
        assert not router._pending_requests_by_id
        assert not any(router._pending_requests_by_model_id.values())

    asyncio.run(scenario())


@pytest.mark.parametrize("version", ["v1", ""])
def test_while_all_are_full_they_are_asked_now_and_then(version: str) -> None:
    """And not without end, at the cost of everybody else in the process."""

    async def scenario() -> None:
        replica = Replica("a", "v1")
        replica.full = 10**9
        routing = asyncio.create_task(Routing(replica).route(version))
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(60):
            while replica.asked <= 10:
                await asyncio.sleep(0.01)
        routing.cancel()
        assert asyncio.get_running_loop().time() - began > 0.3

    asyncio.run(scenario())
