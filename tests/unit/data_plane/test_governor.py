"""The laws of the governor: back off at once, come back step by step, take what lasts as usual."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.data_plane.governor import (
    GROWTH,
    MIN_ANSWERS,
    MIN_SHARE,
    SLOWER,
    SLOWER_MS,
    Governor,
)

latencies = st.lists(st.floats(0.1, 20_000), max_size=60)
seconds = st.lists(st.tuples(latencies, st.booleans()), max_size=40)


def second(governor: Governor, latency_ms: float, answers: int = 100) -> None:
    """A second of answers that all take alike."""
    for _ in range(answers):
        governor.record_latency(latency_ms)
    governor.tick()


def backed_off(governor: Governor) -> Governor:
    for _ in range(20):
        governor.record_lag()
        governor.tick()
    assert governor.share == MIN_SHARE
    return governor


@given(seconds)
def test_the_share_stays_in_its_bounds_and_moves_as_it_may(
    seconds: list[tuple[list[float], bool]],
) -> None:
    governor = Governor()
    for answers, lagged in seconds:
        before = governor.share
        for latency_ms in answers:
            governor.record_latency(latency_ms)
        if lagged:
            governor.record_lag()
        governor.tick()
        assert MIN_SHARE <= governor.share <= 1
        halved, grown = max(MIN_SHARE, before / 2), min(1.0, before + GROWTH)
        assert governor.share in (halved, grown)
        if lagged:
            assert governor.share == halved
        elif len(answers) < MIN_ANSWERS:
            assert governor.share == grown


@given(seconds)
def test_it_recovers_fully_once_all_is_well(seconds: list[tuple[list[float], bool]]) -> None:
    """Whatever there was before: ten quiet seconds, and everything is copied again."""
    governor = Governor()
    for answers, lagged in seconds:
        for latency_ms in answers:
            governor.record_latency(latency_ms)
        if lagged:
            governor.record_lag()
        governor.tick()
    for _ in range(10):
        governor.tick()
    assert governor.share == 1


def test_it_begins_with_everything() -> None:
    assert Governor().share == 1


def test_a_second_in_which_the_candidate_lagged_halves_the_share_once() -> None:
    governor = Governor()
    for _ in range(50):
        governor.record_lag()
    assert governor.share == 1  # nothing happens within a second
    governor.tick()
    assert governor.share == 0.5
    governor.tick()
    assert governor.share == pytest.approx(0.6)


def test_it_never_goes_below_its_least_and_comes_back_in_ten_steps() -> None:
    governor = backed_off(Governor())
    shares = []
    for _ in range(10):
        governor.tick()
        shares.append(governor.share)
    assert shares == sorted(shares)
    assert shares[8] < shares[9] == 1


def test_a_rise_of_the_live_p95_halves_the_share() -> None:
    governor = Governor()
    for _ in range(5):
        second(governor, 10)
    assert governor.share == 1
    second(governor, 16)
    assert governor.share == 0.5


@pytest.mark.parametrize(
    ("usual_ms", "now_ms"),
    [(10, 10 * SLOWER - 0.1), (2, 2 + SLOWER_MS - 0.1), (100, 149), (0.5, 5.4)],
)
def test_a_rise_that_is_small_in_share_or_in_milliseconds_is_none(
    usual_ms: float, now_ms: float
) -> None:
    governor = Governor()
    second(governor, usual_ms)
    second(governor, now_ms)
    assert governor.share == 1


def test_it_is_the_p95_that_counts_not_the_slowest_nor_the_middle() -> None:
    governor = Governor()
    second(governor, 10)
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


def test_a_second_with_few_answers_says_nothing() -> None:
    """The p95 of a handful is the slowest of them."""
    governor = Governor()
    second(governor, 10)
    second(governor, 10_000, answers=MIN_ANSWERS - 1)
    assert governor.share == 1
    second(governor, 10_000, answers=MIN_ANSWERS)
    assert governor.share == 0.5


def test_few_answers_of_one_second_do_not_add_up_with_those_of_the_next() -> None:
    governor = Governor()
    second(governor, 10)
    for _ in range(10):
        second(governor, 10_000, answers=MIN_ANSWERS - 1)
    assert governor.share == 1


def test_what_lasts_becomes_usual() -> None:
    """A larger image, a busier machine: the shadow is not kept out for good."""
    governor = Governor()
    second(governor, 10)
    for _ in range(8):
        second(governor, 20)
    assert governor.share < 0.1
    for _ in range(52):
        second(governor, 20)
    assert governor.share == 1


def test_what_becomes_faster_is_usual_at_once() -> None:
    governor = Governor()
    second(governor, 100)
    second(governor, 10)
    second(governor, 100)
    assert governor.share == 0.5
