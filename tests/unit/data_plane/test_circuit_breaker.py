"""Tests of the candidate's circuit breaker, in virtual time."""

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
from serve_app.errors import Problem
from serve_app.rules.plan import Pool
from serve_app.rules.rule import Candidate
from tests.unit.recording.fakes import run, wait_until
from tests.unit.service import FakePools

V2 = Candidate("v2", Pool.CANDIDATE)
PATCHED = Candidate("v2", Pool.STABLE)

Play = Callable[[CandidateBreaker, FakePools], Awaitable[None]]


@contextlib.asynccontextmanager
async def run_breaker(pools: FakePools) -> AsyncIterator[CandidateBreaker]:
    breaker = CandidateBreaker(pools)
    task = asyncio.create_task(breaker.run())
    try:
        yield breaker
        assert not task.done(), "run() must last until it is cancelled"
    finally:
        task.cancel()


def scenario(play: Play) -> None:
    async def play_in_loop() -> None:
        pools = FakePools()
        async with run_breaker(pools) as breaker:
            await play(breaker, pools)

    run(play_in_loop())


async def wait_for_probes() -> None:
    """Wait long enough for ten probes."""
    await asyncio.sleep(10 * PROBE_INTERVAL_S)


async def close_breaker(breaker: CandidateBreaker, pools: FakePools) -> None:
    """Start a replica of the candidate and wait until the breaker is closed."""
    pools.assigned[Pool.CANDIDATE] = "v2"
    breaker.set_candidate(V2)
    await wait_until(lambda: breaker.is_closed)


def record_timeouts(breaker: CandidateBreaker) -> None:
    """Record enough timeouts to open the breaker."""
    for _ in range(TIMEOUTS_TO_OPEN):
        breaker.record_timeout(V2)


def test_it_is_ready_once_a_replica_of_its_pool_has_the_version() -> None:
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
            await wait_for_probes()
            assert (breaker.ready, breaker.is_closed) == (False, False)
        pools.assigned = {Pool.STABLE: "v1", Pool.CANDIDATE: "v2"}
        await wait_until(lambda: breaker.ready)
        assert breaker.is_closed

    scenario(play)


def test_a_patched_replica_of_the_stable_pool_is_found() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        pools.assigned[Pool.CANDIDATE] = "v2"
        breaker.set_candidate(PATCHED)
        await wait_for_probes()
        assert not breaker.ready
        pools.patched_version = "v2"
        await wait_until(lambda: breaker.ready)

    scenario(play)


def test_an_unreachable_candidate_stays_ready_and_the_breaker_closes_again() -> None:
    """Users keep their assignment: an outage must not reassign them."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await close_breaker(breaker, pools)
        del pools.assigned[Pool.CANDIDATE]
        breaker.record_unreachable(V2)
        await wait_for_probes()
        assert (breaker.ready, breaker.is_closed) == (True, False)
        pools.assigned[Pool.CANDIDATE] = "v2"
        await wait_until(lambda: breaker.is_closed)

    scenario(play)


def test_setting_the_same_candidate_changes_nothing() -> None:
    """A larger weight is a new rule with the same candidate."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        pools.assigned[Pool.CANDIDATE] = "v2"
        breaker.set_candidate(V2)
        await wait_until(lambda: breaker.ready)
        queries = pools.replica_queries
        breaker.set_candidate(Candidate("v2", Pool.CANDIDATE))
        assert (breaker.ready, breaker.is_closed) == (True, True)
        await wait_for_probes()
        assert pools.replica_queries == queries

    scenario(play)


@pytest.mark.parametrize("other", [Candidate("v1", Pool.CANDIDATE), PATCHED, None])
def test_another_candidate_resets_the_breaker(other: Candidate | None) -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        pools.assigned[Pool.CANDIDATE] = "v2"
        breaker.set_candidate(V2)
        await wait_until(lambda: breaker.ready)
        breaker.set_candidate(other)
        assert (breaker.ready, breaker.is_closed) == (False, False)
        await wait_for_probes()
        assert (breaker.ready, breaker.is_closed) == (False, False)
        breaker.set_candidate(V2)
        assert not breaker.ready
        await wait_until(lambda: breaker.ready)

    scenario(play)


def test_timeouts_in_a_row_open_the_breaker_and_a_success_resets_the_count() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await close_breaker(breaker, pools)
        for _ in range(10):
            for _ in range(TIMEOUTS_TO_OPEN - 1):
                breaker.record_timeout(V2)
            breaker.record_success(V2)
        assert breaker.is_closed
        for _ in range(TIMEOUTS_TO_OPEN):
            assert breaker.is_closed
            breaker.record_timeout(V2)
        assert (breaker.ready, breaker.is_closed) == (True, False)
        await wait_until(lambda: breaker.is_closed)
        for _ in range(TIMEOUTS_TO_OPEN - 1):  # the count starts at 0 again
            breaker.record_timeout(V2)
        assert breaker.is_closed

    scenario(play)


def test_results_of_the_previous_candidate_do_not_count() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await close_breaker(breaker, pools)
        for _ in range(TIMEOUTS_TO_OPEN - 1):
            breaker.record_timeout(V2)
        pools.assigned[Pool.CANDIDATE] = "v1"
        other = Candidate("v1", Pool.CANDIDATE)
        breaker.set_candidate(other)
        await wait_until(lambda: breaker.is_closed)
        breaker.record_timeout(other)
        assert breaker.is_closed
        record_timeouts(breaker)  # by requests from before the rule change
        breaker.record_unreachable(V2)
        assert breaker.is_closed
        for _ in range(TIMEOUTS_TO_OPEN - 1):
            breaker.record_success(V2)
            breaker.record_timeout(other)
        assert not breaker.is_closed

    scenario(play)


def test_after_timeouts_the_breaker_stays_open_for_open_s() -> None:
    """A slow replica still answers probes: an immediate probe would close the breaker."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await close_breaker(breaker, pools)
        queries = pools.replica_queries
        for _ in range(3):
            record_timeouts(breaker)
            await asyncio.sleep(OPEN_S - 0.01)
            assert (breaker.is_closed, pools.replica_queries) == (False, queries)
            await asyncio.sleep(0.02)
            queries += 1
            assert (breaker.is_closed, pools.replica_queries) == (True, queries)

    scenario(play)


def test_timeouts_while_open_do_not_extend_the_open_time() -> None:
    """Several requests in flight may time out one after another."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await close_breaker(breaker, pools)
        record_timeouts(breaker)
        await asyncio.sleep(OPEN_S / 2)
        record_timeouts(breaker)
        breaker.record_unreachable(V2)
        await asyncio.sleep(OPEN_S / 2 + 0.01)
        assert breaker.is_closed
        breaker.record_unreachable(V2)
        await asyncio.sleep(0.01)
        assert breaker.is_closed, "probed at once without timeouts"

    scenario(play)


def test_a_new_candidate_does_not_inherit_the_open_time() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await close_breaker(breaker, pools)
        record_timeouts(breaker)
        pools.assigned[Pool.CANDIDATE] = "v1"
        breaker.set_candidate(Candidate("v1", Pool.CANDIDATE))
        await asyncio.sleep(0.01)
        assert breaker.is_closed

    scenario(play)


def test_a_closed_breaker_does_not_probe() -> None:
    """A probe reaches every replica and costs capacity."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await wait_for_probes()
        assert pools.replica_queries == 0
        await close_breaker(breaker, pools)
        assert pools.replica_queries == 1
        for _ in range(100):
            breaker.record_success(V2)
        await asyncio.sleep(3_600)
        assert pools.replica_queries == 1

    scenario(play)


def test_an_unreachable_candidate_is_probed_at_once() -> None:
    """Often only one of several replicas stopped: the others can serve."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await close_breaker(breaker, pools)
        breaker.record_unreachable(V2)
        await asyncio.sleep(PROBE_INTERVAL_S / 10)
        assert breaker.is_closed

    scenario(play)


async def measure_deadline(breaker: CandidateBreaker, timeout_s: float = 2.0) -> tuple[str, Any]:
    """The error code of a request without a response, and its duration in seconds."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    try:
        async with breaker.deadline(V2, timeout_s):
            await asyncio.Event().wait()
    except Problem as exc:
        return exc.code, loop.time() - start_s
    raise AssertionError("the request ended without an error")


def test_requests_end_early_if_the_candidate_has_no_replica() -> None:
    """Serve alone would look for a replica until the timeout."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await close_breaker(breaker, pools)
        del pools.assigned[Pool.CANDIDATE]
        results = await asyncio.gather(*(measure_deadline(breaker) for _ in range(3)))
        assert results == 3 * [("not_ready", pytest.approx(LATE_S))]
        assert (breaker.ready, breaker.is_closed) == (True, False)
        pools.assigned[Pool.CANDIDATE] = "v2"
        await wait_until(lambda: breaker.is_closed)

    scenario(play)


def test_requests_to_an_existing_replica_end_at_their_timeout() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await close_breaker(breaker, pools)
        assert await measure_deadline(breaker) == ("too_slow", pytest.approx(2.0))
        assert await measure_deadline(breaker, LATE_S / 2) == (
            "too_slow",
            pytest.approx(LATE_S / 2),
        )
        assert breaker.is_closed
        queries = pools.replica_queries
        await wait_for_probes()
        assert pools.replica_queries <= queries + 1  # none for the request shorter than LATE_S

    scenario(play)


def test_a_late_request_ends_when_the_last_replica_stops() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await close_breaker(breaker, pools)
        request = asyncio.create_task(measure_deadline(breaker, timeout_s=5.0))
        await asyncio.sleep(3 * LATE_S)
        del pools.assigned[Pool.CANDIDATE]
        code, after_s = await request
        assert code == "not_ready"
        assert 3 * LATE_S <= after_s <= 3 * LATE_S + PROBE_INTERVAL_S

    scenario(play)


def test_many_late_requests_cause_no_more_probes_than_one() -> None:
    """A probe reaches every replica of a pool that is already slow."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await close_breaker(breaker, pools)
        queries = pools.replica_queries

        async def send(number: int) -> None:
            await asyncio.sleep(number / 100)
            async with breaker.deadline(V2, 2.0):
                await asyncio.sleep(0.8)

        await asyncio.gather(*map(send, range(1_000)))
        assert 10 <= pools.replica_queries - queries <= 11 / PROBE_INTERVAL_S
        await asyncio.sleep(60)
        assert pools.replica_queries - queries <= 11 / PROBE_INTERVAL_S

    scenario(play)


def test_requests_to_the_previous_candidate_keep_their_timeout() -> None:
    """Probes of the new candidate do not apply to them."""

    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await close_breaker(breaker, pools)
        request = asyncio.create_task(measure_deadline(breaker))
        await asyncio.sleep(LATE_S / 2)
        breaker.set_candidate(Candidate("v3", Pool.CANDIDATE))
        assert await request == ("too_slow", pytest.approx(2.0))

    scenario(play)


def test_a_timely_response_causes_no_probe() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await close_breaker(breaker, pools)
        async with breaker.deadline(V2, 2.0):
            await asyncio.sleep(LATE_S / 2)
        await wait_for_probes()
        assert pools.replica_queries == 1

    scenario(play)


def test_an_open_breaker_probes_four_times_a_second() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        breaker.set_candidate(V2)
        await asyncio.sleep(60)
        assert 200 <= pools.replica_queries <= 60 / PROBE_INTERVAL_S + 1

    scenario(play)


def test_a_rule_without_a_candidate_stops_the_probes() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        breaker.set_candidate(V2)
        await wait_for_probes()
        breaker.set_candidate(None)
        await wait_for_probes()
        queries = pools.replica_queries
        await wait_for_probes()
        assert pools.replica_queries == queries

    scenario(play)


def test_a_failure_after_the_candidate_was_removed_is_ignored() -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        await close_breaker(breaker, pools)
        breaker.set_candidate(None)
        breaker.record_unreachable(V2)
        await wait_for_probes()
        assert (breaker.ready, breaker.is_closed) == (False, False)
        breaker.set_candidate(V2)
        await wait_until(lambda: breaker.is_closed)

    scenario(play)


@pytest.mark.parametrize("raised", [RuntimeError("unexpected"), CancelledError()])
def test_a_failed_probe_is_logged_and_repeated(
    raised: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """The other side may also cancel the call."""

    class FailingPools(FakePools):
        async def replicas(self, pool: Pool | None = None) -> list[Replica]:
            found = await super().replicas(pool)
            if self.replica_queries < 3:
                raise raised
            return found

    async def play_in_loop() -> None:
        pools = FailingPools()
        pools.assigned[Pool.CANDIDATE] = "v2"
        async with run_breaker(pools) as breaker:
            breaker.set_candidate(V2)
            await wait_until(lambda: breaker.is_closed)
        assert pools.replica_queries == 3

    run(play_in_loop())
    assert [record.message for record in caplog.records] == ["probe.failed"] * 2


class HeldPools(FakePools):
    """Delays the responses of `replicas` until an event; they are outdated by then."""

    def __init__(self) -> None:
        super().__init__()
        self.may_respond = asyncio.Event()

    async def replicas(self, pool: Pool | None = None) -> list[Replica]:
        found = await super().replicas(pool)
        await self.may_respond.wait()
        return found


def test_a_probe_from_before_a_rule_change_is_ignored() -> None:
    async def play_in_loop() -> None:
        pools = HeldPools()
        pools.assigned[Pool.CANDIDATE] = "v2"
        async with run_breaker(pools) as breaker:
            breaker.set_candidate(V2)
            await wait_until(lambda: pools.replica_queries == 1)
            breaker.set_candidate(PATCHED)
            pools.may_respond.set()
            await wait_for_probes()
            assert (breaker.ready, breaker.is_closed) == (False, False)
            pools.patched_version = "v2"
            await wait_until(lambda: breaker.is_closed)

    run(play_in_loop())


def test_a_rule_change_during_a_probe_causes_another_probe() -> None:
    async def play_in_loop() -> None:
        pools = HeldPools()
        async with run_breaker(pools) as breaker:
            breaker.set_candidate(V2)
            await wait_until(lambda: pools.replica_queries == 1)
            breaker.set_candidate(None)
            breaker.set_candidate(PATCHED)
            pools.patched_version = "v2"
            pools.may_respond.set()
            await wait_until(lambda: breaker.is_closed)

    run(play_in_loop())


def test_timeouts_during_a_probe_open_the_breaker_all_the_same() -> None:
    async def play_in_loop() -> None:
        pools = HeldPools()
        pools.assigned[Pool.CANDIDATE] = "v2"
        pools.may_respond.set()
        async with run_breaker(pools) as breaker:
            breaker.set_candidate(V2)
            await wait_until(lambda: breaker.is_closed)
            pools.may_respond.clear()
            queries = pools.replica_queries
            request = asyncio.create_task(measure_deadline(breaker))
            await wait_until(lambda: pools.replica_queries > queries)
            record_timeouts(breaker)
            pools.may_respond.set()
            await asyncio.sleep(OPEN_S / 2)
            assert not breaker.is_closed
            await wait_until(lambda: breaker.is_closed)
            await request

    run(play_in_loop())


def test_a_probe_does_not_end_requests_that_started_after_it() -> None:
    """A probe may take two seconds, and a replica may start meanwhile."""

    async def play_in_loop() -> None:
        pools = HeldPools()
        pools.assigned[Pool.CANDIDATE] = "v2"
        pools.may_respond.set()
        async with run_breaker(pools) as breaker:
            breaker.set_candidate(V2)
            await wait_until(lambda: breaker.is_closed)
            pools.may_respond.clear()
            del pools.assigned[Pool.CANDIDATE]
            queries = pools.replica_queries
            earlier = asyncio.create_task(measure_deadline(breaker, timeout_s=5.0))
            await wait_until(lambda: pools.replica_queries > queries)
            pools.assigned[Pool.CANDIDATE] = "v2"
            later = asyncio.create_task(measure_deadline(breaker, timeout_s=5.0))
            await asyncio.sleep(1)
            pools.may_respond.set()
            assert await earlier == ("not_ready", pytest.approx(LATE_S + 1, abs=0.05))
            assert await later == ("too_slow", pytest.approx(5.0))

    run(play_in_loop())


STEPS = ["set v2", "set v1", "set none", "timeout", "unreachable", "success", "start", "stop",
         "wait"]  # fmt: skip


@given(st.lists(st.sampled_from(STEPS), max_size=12))
def test_a_closed_breaker_implies_ready_and_an_existing_candidate_is_found(
    steps: list[str],
) -> None:
    async def play(breaker: CandidateBreaker, pools: FakePools) -> None:
        candidate: Candidate | None = None
        for step in steps:
            match step:
                case "set v2":
                    candidate = V2
                    breaker.set_candidate(V2)
                case "set v1":
                    candidate = Candidate("v1", Pool.CANDIDATE)
                    breaker.set_candidate(candidate)
                case "set none":
                    candidate = None
                    breaker.set_candidate(None)
                case "timeout":
                    breaker.record_timeout(V2)
                case "unreachable":
                    breaker.record_unreachable(V2)
                case "success":
                    breaker.record_success(V2)
                case "start":
                    pools.assigned[Pool.CANDIDATE] = "v2"
                case "stop":
                    pools.assigned.pop(Pool.CANDIDATE, None)
                case "wait":
                    await wait_for_probes()
            assert breaker.ready or not breaker.is_closed
        await wait_for_probes()
        if candidate is None:
            assert not breaker.ready
        elif pools.assigned.get(Pool.CANDIDATE) == candidate.version:
            assert breaker.is_closed

    scenario(play)
