"""The watch finds the candidate beside the requests; no timer here takes time."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import CancelledError
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.data_plane.pools import LATE_S, Replica
from serve_app.data_plane.watch import (
    PROBE_INTERVAL_S,
    REST_S,
    SLOW_IN_A_ROW,
    CandidateWatch,
)
from serve_app.domain import Pool
from serve_app.errors import Problem
from serve_app.rules.rule import Candidate
from tests.unit.recording.fakes import run, until
from tests.unit.service import FakePools

V2 = Candidate("v2", Pool.CANDIDATE)
PATCHED = Candidate("v2", Pool.STABLE)

Play = Callable[[CandidateWatch, FakePools], Awaitable[None]]


@contextlib.asynccontextmanager
async def watching(pools: FakePools) -> AsyncIterator[CandidateWatch]:
    watch = CandidateWatch(pools)
    task = asyncio.create_task(watch.run())
    try:
        yield watch
        assert not task.done(), "it watches until it is cancelled"
    finally:
        task.cancel()


def scenario(play: Play) -> None:
    async def played() -> None:
        pools = FakePools()
        async with watching(pools) as watch:
            await play(watch, pools)

    run(played())


async def a_while() -> None:
    """Ten probes could be made."""
    await asyncio.sleep(10 * PROBE_INTERVAL_S)


async def find(watch: CandidateWatch, pools: FakePools) -> None:
    """A replica of the candidate is there, and the watch knows it."""
    pools.assigned[Pool.CANDIDATE] = "v2"
    watch.follow(V2)
    await until(lambda: watch.up)


def tire(watch: CandidateWatch) -> None:
    """Let it be slow until it counts as down."""
    for _ in range(SLOW_IN_A_ROW):
        watch.was_slow(V2)


def test_it_is_not_ready_until_a_replica_of_the_right_pool_holds_the_version() -> None:
    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        watch.follow(V2)
        for assigned in (
            {},
            {Pool.STABLE: "v1"},
            {Pool.STABLE: "v2"},
            {Pool.STABLE: "v1", Pool.CANDIDATE: "v1"},
            {Pool.STABLE: "v1", Pool.CANDIDATE: None},
        ):
            pools.assigned = dict(assigned)
            await a_while()
            assert (watch.ready, watch.up) == (False, False)
        pools.assigned = {Pool.STABLE: "v1", Pool.CANDIDATE: "v2"}
        await until(lambda: watch.ready)
        assert watch.up

    scenario(play)


def test_a_patched_replica_of_the_stable_pool_is_found_beside_the_others() -> None:
    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        pools.assigned[Pool.CANDIDATE] = "v2"
        watch.follow(PATCHED)
        await a_while()
        assert not watch.ready
        pools.patched = "v2"
        await until(lambda: watch.ready)

    scenario(play)


def test_ready_stays_when_it_goes_down_and_it_is_up_again_when_a_replica_shows() -> None:
    """Who was given the candidate keeps it: else an outage would reshuffle the users."""

    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        await find(watch, pools)
        del pools.assigned[Pool.CANDIDATE]
        watch.was_unreachable(V2)
        await a_while()
        assert (watch.ready, watch.up) == (True, False)
        pools.assigned[Pool.CANDIDATE] = "v2"
        await until(lambda: watch.up)

    scenario(play)


def test_the_same_candidate_again_changes_nothing() -> None:
    """A growing weight is a new rule with the old candidate."""

    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        pools.assigned[Pool.CANDIDATE] = "v2"
        watch.follow(V2)
        await until(lambda: watch.ready)
        looks = pools.looks
        watch.follow(Candidate("v2", Pool.CANDIDATE))
        assert (watch.ready, watch.up) == (True, True)
        await a_while()
        assert pools.looks == looks

    scenario(play)


@pytest.mark.parametrize("other", [Candidate("v1", Pool.CANDIDATE), PATCHED, None])
def test_another_candidate_begins_anew(other: Candidate | None) -> None:
    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        pools.assigned[Pool.CANDIDATE] = "v2"
        watch.follow(V2)
        await until(lambda: watch.ready)
        watch.follow(other)
        assert (watch.ready, watch.up) == (False, False)
        await a_while()
        assert (watch.ready, watch.up) == (False, False)
        watch.follow(V2)
        assert not watch.ready
        await until(lambda: watch.ready)

    scenario(play)


def test_slow_answers_in_a_row_bring_it_down_and_a_good_one_between_resets() -> None:
    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        await find(watch, pools)
        for _ in range(10):
            for _ in range(SLOW_IN_A_ROW - 1):
                watch.was_slow(V2)
            watch.answered(V2)
        assert watch.up
        for _ in range(SLOW_IN_A_ROW):
            assert watch.up
            watch.was_slow(V2)
        assert (watch.ready, watch.up) == (True, False)
        await until(lambda: watch.up)
        for _ in range(SLOW_IN_A_ROW - 1):  # it begins to count anew
            watch.was_slow(V2)
        assert watch.up

    scenario(play)


def test_slow_answers_of_the_candidate_before_do_not_count() -> None:
    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        await find(watch, pools)
        for _ in range(SLOW_IN_A_ROW - 1):
            watch.was_slow(V2)
        pools.assigned[Pool.CANDIDATE] = "v1"
        other = Candidate("v1", Pool.CANDIDATE)
        watch.follow(other)
        await until(lambda: watch.up)
        watch.was_slow(other)
        assert watch.up
        tire(watch)  # requests that were under way when the rule changed
        watch.was_unreachable(V2)
        assert watch.up
        for _ in range(SLOW_IN_A_ROW - 1):
            watch.answered(V2)
            watch.was_slow(other)
        assert not watch.up

    scenario(play)


def test_a_slow_one_rests_before_it_is_looked_for() -> None:
    """Its replica says that it is there: found at once, it would get the next requests too."""

    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        await find(watch, pools)
        looks = pools.looks
        for _ in range(3):
            tire(watch)
            await asyncio.sleep(REST_S - 0.01)
            assert (watch.up, pools.looks) == (False, looks)
            await asyncio.sleep(0.02)
            looks += 1
            assert (watch.up, pools.looks) == (True, looks)

    scenario(play)


def test_what_comes_late_during_the_rest_does_not_lengthen_it_nor_ask_for_another() -> None:
    """Many were under way when it got slow: each is late, some a little later."""

    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        await find(watch, pools)
        tire(watch)
        await asyncio.sleep(REST_S / 2)
        tire(watch)
        watch.was_unreachable(V2)
        await asyncio.sleep(REST_S / 2 + 0.01)
        assert watch.up
        watch.was_unreachable(V2)
        await asyncio.sleep(0.01)
        assert watch.up, "one that is not slow is looked for at once"

    scenario(play)


def test_another_candidate_does_not_rest_for_the_one_before() -> None:
    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        await find(watch, pools)
        tire(watch)
        pools.assigned[Pool.CANDIDATE] = "v1"
        watch.follow(Candidate("v1", Pool.CANDIDATE))
        await asyncio.sleep(0.01)
        assert watch.up

    scenario(play)


def test_it_asks_nobody_while_all_is_known() -> None:
    """Its probes reach every replica: they would cost the users."""

    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        await a_while()
        assert pools.looks == 0
        await find(watch, pools)
        assert pools.looks == 1
        for _ in range(100):
            watch.answered(V2)
        await asyncio.sleep(3_600)
        assert pools.looks == 1

    scenario(play)


def test_it_looks_at_once_when_it_goes_down() -> None:
    """Often only one replica of several went: no user waits for what the others can answer."""

    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        await find(watch, pools)
        watch.was_unreachable(V2)
        await asyncio.sleep(PROBE_INTERVAL_S / 10)
        assert watch.up

    scenario(play)


async def waited(watch: CandidateWatch, timeout_s: float = 2.0) -> tuple[str, Any]:
    """How waiting for an answer that never comes ends, and after how many seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with watch.waiting(V2, timeout_s):
            await asyncio.Event().wait()
    except Problem as exc:
        return exc.code, loop.time() - began
    raise AssertionError("it ended by itself")


def test_nobody_waits_for_a_candidate_that_is_gone() -> None:
    """Serve would look for a replica of it as long as somebody waits."""

    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        await find(watch, pools)
        del pools.assigned[Pool.CANDIDATE]
        ends = await asyncio.gather(*(waited(watch) for _ in range(3)))
        assert ends == 3 * [("not_ready", pytest.approx(LATE_S))]
        assert (watch.ready, watch.up) == (True, False)
        pools.assigned[Pool.CANDIDATE] = "v2"
        await until(lambda: watch.up)

    scenario(play)


def test_a_candidate_that_is_there_is_waited_for_to_the_end() -> None:
    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        await find(watch, pools)
        assert await waited(watch) == ("too_slow", pytest.approx(2.0))
        assert await waited(watch, LATE_S / 2) == ("too_slow", pytest.approx(LATE_S / 2))
        assert watch.up
        looks = pools.looks
        await a_while()
        assert pools.looks <= looks + 1  # who gives up before has nobody looked for

    scenario(play)


def test_a_candidate_that_goes_while_it_is_late_is_missed_as_well() -> None:
    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        await find(watch, pools)
        waiting = asyncio.create_task(waited(watch, timeout_s=5.0))
        await asyncio.sleep(3 * LATE_S)
        del pools.assigned[Pool.CANDIDATE]
        code, after_s = await waiting
        assert code == "not_ready"
        assert 3 * LATE_S <= after_s <= 3 * LATE_S + PROBE_INTERVAL_S

    scenario(play)


def test_many_late_answers_ask_no_more_than_one_does() -> None:
    """A look reaches every replica of a pool that is slow already."""

    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        await find(watch, pools)
        looks = pools.looks

        async def ask(number: int) -> None:
            await asyncio.sleep(number / 100)
            async with watch.waiting(V2, 2.0):
                await asyncio.sleep(0.8)

        await asyncio.gather(*map(ask, range(1_000)))
        assert 10 <= pools.looks - looks <= 11 / PROBE_INTERVAL_S
        await asyncio.sleep(60)
        assert pools.looks - looks <= 11 / PROBE_INTERVAL_S

    scenario(play)


def test_whoever_waits_for_the_candidate_before_waits_on() -> None:
    """What is found of the new one says nothing of it."""

    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        await find(watch, pools)
        waiting = asyncio.create_task(waited(watch))
        await asyncio.sleep(LATE_S / 2)
        watch.follow(Candidate("v3", Pool.CANDIDATE))
        assert await waiting == ("too_slow", pytest.approx(2.0))

    scenario(play)


def test_an_answer_in_time_is_no_reason_to_look() -> None:
    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        await find(watch, pools)
        async with watch.waiting(V2, 2.0):
            await asyncio.sleep(LATE_S / 2)
        await a_while()
        assert pools.looks == 1

    scenario(play)


def test_while_it_is_down_it_asks_four_times_a_second() -> None:
    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        watch.follow(V2)
        await asyncio.sleep(60)
        assert 200 <= pools.looks <= 60 / PROBE_INTERVAL_S + 1

    scenario(play)


def test_a_rule_without_a_candidate_ends_the_search() -> None:
    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        watch.follow(V2)
        await a_while()
        watch.follow(None)
        await a_while()
        looks = pools.looks
        await a_while()
        assert pools.looks == looks

    scenario(play)


def test_a_late_failure_of_a_candidate_that_nobody_tries_any_more_does_no_harm() -> None:
    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        await find(watch, pools)
        watch.follow(None)
        watch.was_unreachable(V2)
        await a_while()
        assert (watch.ready, watch.up) == (False, False)
        watch.follow(V2)
        await until(lambda: watch.up)

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
        async with watching(pools) as watch:
            watch.follow(V2)
            await until(lambda: watch.up)
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
        async with watching(pools) as watch:
            watch.follow(V2)
            await until(lambda: pools.looks == 1)
            watch.follow(PATCHED)
            pools.may_tell.set()
            await a_while()
            assert (watch.ready, watch.up) == (False, False)
            pools.patched = "v2"
            await until(lambda: watch.up)

    run(played())


def test_a_rule_that_changes_during_a_probe_still_has_its_candidate_found() -> None:
    async def played() -> None:
        pools = Held()
        async with watching(pools) as watch:
            watch.follow(V2)
            await until(lambda: pools.looks == 1)
            watch.follow(None)
            watch.follow(PATCHED)
            pools.patched = "v2"
            pools.may_tell.set()
            await until(lambda: watch.up)

    run(played())


def test_one_that_became_slow_during_a_look_rests_all_the_same() -> None:
    async def played() -> None:
        pools = Held()
        pools.assigned[Pool.CANDIDATE] = "v2"
        pools.may_tell.set()
        async with watching(pools) as watch:
            watch.follow(V2)
            await until(lambda: watch.up)
            pools.may_tell.clear()
            looks = pools.looks
            waiting = asyncio.create_task(waited(watch))
            await until(lambda: pools.looks > looks)
            tire(watch)
            pools.may_tell.set()
            await asyncio.sleep(REST_S / 2)
            assert not watch.up
            await until(lambda: watch.up)
            await waiting

    run(played())


def test_what_was_seen_before_says_nothing_of_who_came_later() -> None:
    """Replicas have two seconds to tell of themselves, and may be there meanwhile."""

    async def played() -> None:
        pools = Held()
        pools.assigned[Pool.CANDIDATE] = "v2"
        pools.may_tell.set()
        async with watching(pools) as watch:
            watch.follow(V2)
            await until(lambda: watch.up)
            pools.may_tell.clear()
            del pools.assigned[Pool.CANDIDATE]
            looks = pools.looks
            before = asyncio.create_task(waited(watch, timeout_s=5.0))
            await until(lambda: pools.looks > looks)
            pools.assigned[Pool.CANDIDATE] = "v2"
            later = asyncio.create_task(waited(watch, timeout_s=5.0))
            await asyncio.sleep(1)
            pools.may_tell.set()
            assert await before == ("not_ready", pytest.approx(LATE_S + 1, abs=0.05))
            assert await later == ("too_slow", pytest.approx(5.0))

    run(played())


STEPS = ["follow v2", "follow v1", "follow nobody", "slow", "unreachable", "answered", "shows",
         "goes", "wait"]  # fmt: skip


@given(st.lists(st.sampled_from(STEPS), max_size=12))
def test_whatever_happens_up_means_ready_and_what_there_is_gets_found(steps: list[str]) -> None:
    async def play(watch: CandidateWatch, pools: FakePools) -> None:
        followed: Candidate | None = None
        for step in steps:
            match step:
                case "follow v2":
                    followed = V2
                    watch.follow(V2)
                case "follow v1":
                    followed = Candidate("v1", Pool.CANDIDATE)
                    watch.follow(followed)
                case "follow nobody":
                    followed = None
                    watch.follow(None)
                case "slow":
                    watch.was_slow(V2)
                case "unreachable":
                    watch.was_unreachable(V2)
                case "answered":
                    watch.answered(V2)
                case "shows":
                    pools.assigned[Pool.CANDIDATE] = "v2"
                case "goes":
                    pools.assigned.pop(Pool.CANDIDATE, None)
                case "wait":
                    await a_while()
            assert watch.ready or not watch.up
        await a_while()
        if followed is None:
            assert not watch.ready
        elif pools.assigned.get(Pool.CANDIDATE) == followed.version:
            assert watch.up

    scenario(play)
