"""The breaker finds the candidate beside the requests; no timer here takes time."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import CancelledError
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.data_plane.circuit_breaker import (
    OPEN_S,
    PROBE_INTERVAL_S,
    TIMEOUTS_TO_OPEN,
    CandidateBreaker,
)
from serve_app.data_plane.pools import LATE_S, Replica
from serve_app.domain import Pool
from serve_app.errors import Problem
from serve_app.rules.rule import Candidate
from tests.unit.recording.fakes import run, until
from tests.unit.service import FakePools

V2 = Candidate("v2", Pool.CANDIDATE)
PATCHED = Candidate("v2", Pool.STABLE)

Play = Callable[[CandidateBreaker, FakePools], Awaitable[None]]


@contextlib.asynccontextmanager
async def watching(pools: FakePools) -> AsyncIterator[CandidateBreaker]:
    breaker = CandidateBreaker(pools)
    task = asyncio.create_task(breaker.run())
    try:
        yield breaker
        assert not task.done(), "it watches until it is cancelled"
    finally:
        task.cancel()


def scenario(play: Play) -> None:
    async def played() -> None:
        pools = FakePools()
        async with watching(pools) as breaker:
            await play(breaker, pools)

    run(played())


async def a_while() -> None:
    """Ten probes could be made."""
    await asyncio.sleep(10 * PROBE_INTERVAL_S)


async def find(breaker: CandidateBreaker, pools: FakePools) -> None:
    """A replica of the candidate is there, and the breaker knows it."""
    pools.assigned[Pool.CANDIDATE] = "v2"
    breaker.set_candidate(V2)
    await until(lambda: breaker.is_closed)


def tire(breaker: CandidateBreaker) -> None:
    """Let it be slow until it counts as down."""
    for _ in range(TIMEOUTS_TO_OPEN):
        breaker.record_timeout(V2)


def test_it_is_not_ready_until_a_replica_of_the_right_pool_holds_the_version() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        breaker.set_candidate(V2)
        for assigned in (
            {},
            {Pool.STABLE: "v1"},
            {Pool.STABLE: "v2"},
            {Pool.STABLE: "v1", Pool.CANDIDATE: "v1"},
            {Pool.STABLE: "v1", Pool.CANDIDATE: None},
        ):
            pools.assigned = dict(assigned)
            await a_while()
            assert (breaker.ready, breaker.is_closed) == (False, False)
        pools.assigned = {Pool.STABLE: "v1", Pool.CANDIDATE: "v2"}
        await until(lambda: breaker.ready)
        assert breaker.is_closed

    scenario(play)


def test_a_patched_replica_of_the_stable_pool_is_found_beside_the_others() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        pools.assigned[Pool.CANDIDATE] = "v2"
        breaker.set_candidate(PATCHED)
        await a_while()
        assert not breaker.ready
        pools.patched = "v2"
        await until(lambda: breaker.ready)

    scenario(play)


def test_ready_stays_when_it_goes_down_and_it_is_up_again_when_a_replica_shows() -> None:
    """Who was given the candidate keeps it: else an outage would reshuffle the users."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await find(breaker, pools)
        del pools.assigned[Pool.CANDIDATE]
        breaker.record_unreachable(V2)
        await a_while()
        assert (breaker.ready, breaker.is_closed) == (True, False)
        pools.assigned[Pool.CANDIDATE] = "v2"
        await until(lambda: breaker.is_closed)

    scenario(play)


def test_the_same_candidate_again_changes_nothing() -> None:
    """A growing weight is a new rule with the old candidate."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        pools.assigned[Pool.CANDIDATE] = "v2"
        breaker.set_candidate(V2)
        await until(lambda: breaker.ready)
        looks = pools.looks
        breaker.set_candidate(Candidate("v2", Pool.CANDIDATE))
        assert (breaker.ready, breaker.is_closed) == (True, True)
        await a_while()
        assert pools.looks == looks

    scenario(play)


@pytest.mark.parametrize("other", [Candidate("v1", Pool.CANDIDATE), PATCHED, None])
def test_another_candidate_begins_anew(other: Candidate | None) -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        pools.assigned[Pool.CANDIDATE] = "v2"
        breaker.set_candidate(V2)
        await until(lambda: breaker.ready)
        breaker.set_candidate(other)
        assert (breaker.ready, breaker.is_closed) == (False, False)
        await a_while()
        assert (breaker.ready, breaker.is_closed) == (False, False)
        breaker.set_candidate(V2)
        assert not breaker.ready
        await until(lambda: breaker.ready)

    scenario(play)


def test_slow_answers_in_a_row_bring_it_down_and_a_good_one_between_resets() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await find(breaker, pools)
        for _ in range(10):
            for _ in range(TIMEOUTS_TO_OPEN - 1):
                breaker.record_timeout(V2)
            breaker.record_success(V2)
        assert breaker.is_closed
        for _ in range(TIMEOUTS_TO_OPEN):
            assert breaker.is_closed
            breaker.record_timeout(V2)
        assert (breaker.ready, breaker.is_closed) == (True, False)
        await until(lambda: breaker.is_closed)
        for _ in range(TIMEOUTS_TO_OPEN - 1):  # it begins to count anew
            breaker.record_timeout(V2)
        assert breaker.is_closed

    scenario(play)


def test_slow_answers_of_the_candidate_before_do_not_count() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await find(breaker, pools)
        for _ in range(TIMEOUTS_TO_OPEN - 1):
            breaker.record_timeout(V2)
        pools.assigned[Pool.CANDIDATE] = "v1"
        other = Candidate("v1", Pool.CANDIDATE)
        breaker.set_candidate(other)
        await until(lambda: breaker.is_closed)
        breaker.record_timeout(other)
        assert breaker.is_closed
        tire(breaker)  # requests that were under way when the rule changed
        breaker.record_unreachable(V2)
        assert breaker.is_closed
        for _ in range(TIMEOUTS_TO_OPEN - 1):
            breaker.record_success(V2)
            breaker.record_timeout(other)
        assert not breaker.is_closed

    scenario(play)


def test_a_slow_one_rests_before_it_is_looked_for() -> None:
    """Its replica says that it is there: found at once, it would get the next requests too."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await find(breaker, pools)
        looks = pools.looks
        for _ in range(3):
            tire(breaker)
            await asyncio.sleep(OPEN_S - 0.01)
            assert (breaker.is_closed, pools.looks) == (False, looks)
            await asyncio.sleep(0.02)
            looks += 1
            assert (breaker.is_closed, pools.looks) == (True, looks)

    scenario(play)


def test_what_comes_late_during_the_rest_does_not_lengthen_it_nor_ask_for_another() -> None:
    """Many were under way when it got slow: each is late, some a little later."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await find(breaker, pools)
        tire(breaker)
        await asyncio.sleep(OPEN_S / 2)
        tire(breaker)
        breaker.record_unreachable(V2)
        await asyncio.sleep(OPEN_S / 2 + 0.01)
        assert breaker.is_closed
        breaker.record_unreachable(V2)
        await asyncio.sleep(0.01)
        assert breaker.is_closed, "one that is not slow is looked for at once"

    scenario(play)


def test_another_candidate_does_not_rest_for_the_one_before() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await find(breaker, pools)
        tire(breaker)
        pools.assigned[Pool.CANDIDATE] = "v1"
        breaker.set_candidate(Candidate("v1", Pool.CANDIDATE))
        await asyncio.sleep(0.01)
        assert breaker.is_closed

    scenario(play)


def test_it_asks_nobody_while_all_is_known() -> None:
    """Its probes reach every replica: they would cost the users."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await a_while()
        assert pools.looks == 0
        await find(breaker, pools)
        assert pools.looks == 1
        for _ in range(100):
            breaker.record_success(V2)
        await asyncio.sleep(3_600)
        assert pools.looks == 1

    scenario(play)


def test_it_looks_at_once_when_it_goes_down() -> None:
    """Often only one replica of several went: no user waits for what the others can answer."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await find(breaker, pools)
        breaker.record_unreachable(V2)
        await asyncio.sleep(PROBE_INTERVAL_S / 10)
        assert breaker.is_closed

    scenario(play)


async def waited(breaker: CandidateBreaker, timeout_s: float = 2.0) -> tuple[str, Any]:
    """How waiting for an answer that never comes ends, and after how many seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with breaker.deadline(V2, timeout_s):
            await asyncio.Event().wait()
    except Problem as exc:
        return exc.code, loop.time() - began
    raise AssertionError("it ended by itself")


def test_nobody_waits_for_a_candidate_that_is_gone() -> None:
    """Serve would look for a replica of it as long as somebody waits."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await find(breaker, pools)
        del pools.assigned[Pool.CANDIDATE]
        ends = await asyncio.gather(*(waited(breaker) for _ in range(3)))
        assert ends == 3 * [("not_ready", pytest.approx(LATE_S))]
        assert (breaker.ready, breaker.is_closed) == (True, False)
        pools.assigned[Pool.CANDIDATE] = "v2"
        await until(lambda: breaker.is_closed)

    scenario(play)


def test_a_candidate_that_is_there_is_waited_for_to_the_end() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await find(breaker, pools)
        assert await waited(breaker) == ("too_slow", pytest.approx(2.0))
        assert await waited(breaker, LATE_S / 2) == ("too_slow", pytest.approx(LATE_S / 2))
        assert breaker.is_closed
        looks = pools.looks
        await a_while()
        assert pools.looks <= looks + 1  # who gives up before has nobody looked for

    scenario(play)


def test_a_candidate_that_goes_while_it_is_late_is_missed_as_well() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await find(breaker, pools)
        waiting = asyncio.create_task(waited(breaker, timeout_s=5.0))
        await asyncio.sleep(3 * LATE_S)
        del pools.assigned[Pool.CANDIDATE]
        code, after_s = await waiting
        assert code == "not_ready"
        assert 3 * LATE_S <= after_s <= 3 * LATE_S + PROBE_INTERVAL_S

    scenario(play)


def test_many_late_answers_ask_no_more_than_one_does() -> None:
    """A look reaches every replica of a pool that is slow already."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await find(breaker, pools)
        looks = pools.looks

        async def ask(number: int) -> None:
            await asyncio.sleep(number / 100)
            async with breaker.deadline(V2, 2.0):
                await asyncio.sleep(0.8)

        await asyncio.gather(*map(ask, range(1_000)))
        assert 10 <= pools.looks - looks <= 11 / PROBE_INTERVAL_S
        await asyncio.sleep(60)
        assert pools.looks - looks <= 11 / PROBE_INTERVAL_S

    scenario(play)


def test_whoever_waits_for_the_candidate_before_waits_on() -> None:
    """What is found of the new one says nothing of it."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await find(breaker, pools)
        waiting = asyncio.create_task(waited(breaker))
        await asyncio.sleep(LATE_S / 2)
        breaker.set_candidate(Candidate("v3", Pool.CANDIDATE))
        assert await waiting == ("too_slow", pytest.approx(2.0))

    scenario(play)


def test_an_answer_in_time_is_no_reason_to_look() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await find(breaker, pools)
        async with breaker.deadline(V2, 2.0):
            await asyncio.sleep(LATE_S / 2)
        await a_while()
        assert pools.looks == 1

    scenario(play)


def test_while_it_is_down_it_asks_four_times_a_second() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        breaker.set_candidate(V2)
        await asyncio.sleep(60)
        assert 200 <= pools.looks <= 60 / PROBE_INTERVAL_S + 1

    scenario(play)


def test_a_rule_without_a_candidate_ends_the_search() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        breaker.set_candidate(V2)
        await a_while()
        breaker.set_candidate(None)
        await a_while()
        looks = pools.looks
        await a_while()
        assert pools.looks == looks

    scenario(play)


def test_a_late_failure_of_a_candidate_that_nobody_tries_any_more_does_no_harm() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await find(breaker, pools)
        breaker.set_candidate(None)
        breaker.record_unreachable(V2)
        await a_while()
        assert (breaker.ready, breaker.is_closed) == (False, False)
        breaker.set_candidate(V2)
        await until(lambda: breaker.is_closed)

    scenario(play)


@pytest.mark.parametrize("raised", [RuntimeError("no one knows this one"), CancelledError()])
def test_a_probe_that_raises_is_logged_and_made_again(
    raised: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Also a call that the other side has cancelled."""

    class Failing(FakePools):
        async def replicas(self, pool: Pool | None = None) -> list[Replica]:
            found = await super().replicas(pool)
            if self.looks < 3:
                raise raised
            return found

    async def played() -> None:
        pools = Failing()
        pools.assigned[Pool.CANDIDATE] = "v2"
        async with watching(pools) as breaker:
            breaker.set_candidate(V2)
            await until(lambda: breaker.is_closed)
        assert pools.looks == 3

    run(played())
    assert [record.message for record in caplog.records] == ["probe.failed"] * 2


class Held(FakePools):
    """Its replicas are told only when they may be: what was seen is old by then."""

    def __init__(self) -> None:
        super().__init__()
        self.may_tell = asyncio.Event()

    async def replicas(self, pool: Pool | None = None) -> list[Replica]:
        found = await super().replicas(pool)
        await self.may_tell.wait()
        return found


def test_a_probe_that_was_under_way_when_the_rule_changed_says_nothing_of_the_next() -> None:
    async def played() -> None:
        pools = Held()
        pools.assigned[Pool.CANDIDATE] = "v2"
        async with watching(pools) as breaker:
            breaker.set_candidate(V2)
            await until(lambda: pools.looks == 1)
            breaker.set_candidate(PATCHED)
            pools.may_tell.set()
            await a_while()
            assert (breaker.ready, breaker.is_closed) == (False, False)
            pools.patched = "v2"
            await until(lambda: breaker.is_closed)

    run(played())


def test_a_rule_that_changes_during_a_probe_still_has_its_candidate_found() -> None:
    async def played() -> None:
        pools = Held()
        async with watching(pools) as breaker:
            breaker.set_candidate(V2)
            await until(lambda: pools.looks == 1)
            breaker.set_candidate(None)
            breaker.set_candidate(PATCHED)
            pools.patched = "v2"
            pools.may_tell.set()
            await until(lambda: breaker.is_closed)

    run(played())


def test_one_that_became_slow_during_a_look_rests_all_the_same() -> None:
    async def played() -> None:
        pools = Held()
        pools.assigned[Pool.CANDIDATE] = "v2"
        pools.may_tell.set()
        async with watching(pools) as breaker:
            breaker.set_candidate(V2)
            await until(lambda: breaker.is_closed)
            pools.may_tell.clear()
            looks = pools.looks
            waiting = asyncio.create_task(waited(breaker))
            await until(lambda: pools.looks > looks)
            tire(breaker)
            pools.may_tell.set()
            await asyncio.sleep(OPEN_S / 2)
            assert not breaker.is_closed
            await until(lambda: breaker.is_closed)
            await waiting

    run(played())


def test_what_was_seen_before_says_nothing_of_who_came_later() -> None:
    """Replicas have two seconds to tell of themselves, and may be there meanwhile."""

    async def played() -> None:
        pools = Held()
        pools.assigned[Pool.CANDIDATE] = "v2"
        pools.may_tell.set()
        async with watching(pools) as breaker:
            breaker.set_candidate(V2)
            await until(lambda: breaker.is_closed)
            pools.may_tell.clear()
            del pools.assigned[Pool.CANDIDATE]
            looks = pools.looks
            before = asyncio.create_task(waited(breaker, timeout_s=5.0))
            await until(lambda: pools.looks > looks)
            pools.assigned[Pool.CANDIDATE] = "v2"
            later = asyncio.create_task(waited(breaker, timeout_s=5.0))
            await asyncio.sleep(1)
            pools.may_tell.set()
            assert await before == ("not_ready", pytest.approx(LATE_S + 1, abs=0.05))
            assert await later == ("too_slow", pytest.approx(5.0))

    run(played())


STEPS = ["follow v2", "follow v1", "follow nobody", "slow", "unreachable", "answered", "shows",
         "goes", "wait"]  # fmt: skip


@given(st.lists(st.sampled_from(STEPS), max_size=12))
def test_whatever_happens_up_means_ready_and_what_there_is_gets_found(steps: list[str]) -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        followed: Candidate | None = None
        for step in steps:
            match step:
                case "follow v2":
                    followed = V2
                    breaker.set_candidate(V2)
                case "follow v1":
                    followed = Candidate("v1", Pool.CANDIDATE)
                    breaker.set_candidate(followed)
                case "follow nobody":
                    followed = None
                    breaker.set_candidate(None)
                case "slow":
                    breaker.record_timeout(V2)
                case "unreachable":
                    breaker.record_unreachable(V2)
                case "answered":
                    breaker.record_success(V2)
                case "shows":
                    pools.assigned[Pool.CANDIDATE] = "v2"
                case "goes":
                    pools.assigned.pop(Pool.CANDIDATE, None)
                case "wait":
                    await a_while()
            assert breaker.ready or not breaker.is_closed
        await a_while()
        if followed is None:
            assert not breaker.ready
        elif pools.assigned.get(Pool.CANDIDATE) == followed.version:
            assert breaker.is_closed

    scenario(play)
