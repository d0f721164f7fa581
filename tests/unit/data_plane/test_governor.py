"""Tests of the governor: fast decrease, stepwise increase, and a baseline that adapts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.data_plane.governor import (
    GROWTH,
    MIN_LATENCIES,
    MIN_SHARE,
    SLOWDOWN_MS,
    SLOWDOWN_RATIO,
    Governor,
)

latencies = st.lists(st.floats(0.1, 20_000), max_size=60)
seconds = st.lists(st.tuples(latencies, st.booleans()), max_size=40)


def record_second(governor: Governor, latency_ms: float, count: int = 100) -> None:
    """Record a second of live requests of one latency."""
    for _ in range(count):
        governor.record_latency(latency_ms)
    governor.tick()


def reduce_to_min_share(governor: Governor) -> Governor:
    for _ in range(20):
        governor.record_lag()
        governor.tick()
    assert governor.share == MIN_SHARE
    return governor


@given(seconds)
def test_each_tick_halves_or_grows_the_share_within_its_bounds(
    seconds: list[tuple[list[float], bool]],
) -> None:
    governor = Governor()
    for latencies_ms, has_lagged in seconds:
        before = governor.share
        for latency_ms in latencies_ms:
            governor.record_latency(latency_ms)
        if has_lagged:
            governor.record_lag()
        governor.tick()
        assert MIN_SHARE <= governor.share <= 1
        halved, grown = max(MIN_SHARE, before / 2), min(1.0, before + GROWTH)
        assert governor.share in (halved, grown)
        if has_lagged:
            assert governor.share == halved
        elif len(latencies_ms) < MIN_LATENCIES:
            assert governor.share == grown


@given(seconds)
def test_the_share_recovers_after_ten_seconds_without_lag(
    seconds: list[tuple[list[float], bool]],
) -> None:
    governor = Governor()
    for latencies_ms, has_lagged in seconds:
        for latency_ms in latencies_ms:
            governor.record_latency(latency_ms)
        if has_lagged:
            governor.record_lag()
        governor.tick()
    for _ in range(10):
        governor.tick()
    assert governor.share == 1


def test_the_initial_share_is_1() -> None:
    assert Governor().share == 1


def test_lag_halves_the_share_once_per_second() -> None:
    governor = Governor()
    for _ in range(50):
        governor.record_lag()
    assert governor.share == 1  # unchanged before the tick
    governor.tick()
    assert governor.share == 0.5
    governor.tick()
    assert governor.share == pytest.approx(0.6)


def test_the_share_recovers_from_its_minimum_in_ten_steps() -> None:
    governor = reduce_to_min_share(Governor())
    shares = []
    for _ in range(10):
        governor.tick()
        shares.append(governor.share)
    assert shares == sorted(shares)
    assert shares[8] < shares[9] == 1


def test_a_rise_of_the_live_p95_halves_the_share() -> None:
    governor = Governor()
    for _ in range(5):
        record_second(governor, 10)
    assert governor.share == 1
    record_second(governor, 16)
    assert governor.share == 0.5


@pytest.mark.parametrize(
    ("baseline_ms", "p95_ms"),
    [(10, 10 * SLOWDOWN_RATIO - 0.1), (2, 2 + SLOWDOWN_MS - 0.1), (100, 149), (0.5, 5.4)],
)
def test_a_rise_below_either_threshold_is_ignored(baseline_ms: float, p95_ms: float) -> None:
    governor = Governor()
    record_second(governor, baseline_ms)
    record_second(governor, p95_ms)
    assert governor.share == 1


def test_the_p95_counts_and_not_the_maximum() -> None:
    governor = Governor()
    record_second(governor, 10)
    for _ in range(97):
        governor.record_latency(10)
    for _ in range(3):
        governor.record_latency(1_000)
    governor.tick()
    assert governor.share == 1
    for _ in range(90):
        governor.record_latency(10)
    for _ in range(10):
        governor.record_latency(1_000)
    governor.tick()
    assert governor.share == 0.5


def test_a_second_with_few_latencies_is_ignored() -> None:
    """The p95 of a few latencies is their maximum."""
    governor = Governor()
    record_second(governor, 10)
    record_second(governor, 10_000, count=MIN_LATENCIES - 1)
    assert governor.share == 1
    record_second(governor, 10_000, count=MIN_LATENCIES)
    assert governor.share == 0.5


def test_latencies_do_not_accumulate_over_seconds() -> None:
    governor = Governor()
    record_second(governor, 10)
    for _ in range(10):
        record_second(governor, 10_000, count=MIN_LATENCIES - 1)
    assert governor.share == 1


def test_a_lasting_rise_becomes_the_baseline() -> None:
    """Larger images or a busier machine must not disable the shadow permanently."""
    governor = Governor()
    record_second(governor, 10)
    for _ in range(8):
        record_second(governor, 20)
    assert governor.share < 0.1
    for _ in range(52):
        record_second(governor, 20)
    assert governor.share == 1


def test_a_lower_p95_is_the_baseline_at_once() -> None:
    governor = Governor()
    record_second(governor, 100)
    record_second(governor, 10)
    record_second(governor, 100)
    assert governor.share == 0.5
