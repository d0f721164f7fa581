"""Which replicas a call may go to, with replicas that are not Ray's."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

with warnings.catch_warnings():  # pydantic's, of Ray's own classes
    warnings.simplefilter("ignore", DeprecationWarning)
    from serve_app.serving.router import VERSION, VersionRouter


class Replica:
    """What the router knows of one."""

    def __init__(self, name: str, version: str | None, *warm: str) -> None:
        self.replica_id = name
        self.routing_stats = {VERSION: version} if version else {}
        self.multiplexed_model_ids = {*warm, *([version] if version else [])}

    def __repr__(self) -> str:
        return str(self.replica_id)


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


def test_a_call_that_was_refused_by_the_warm_ones_may_go_on_to_any() -> None:
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
