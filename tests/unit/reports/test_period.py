from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.clock import DAY_MS, HOUR_MS, MINUTE_MS
from serve_app.errors import BadPeriod
from serve_app.regions import members
from serve_app.reports.period import MAX_POINTS, Period, parse_period

NOW = datetime(2026, 11, 23, 12, 34, 56, 789_000, UTC)
NOW_MS = int(NOW.timestamp() * 1000)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("since", "start"),
    [
        ("1m", "2026-11-23T12:33:00Z"),
        ("30m", "2026-11-23T12:04:00Z"),
        ("24h", "2026-11-22T12:34:00Z"),
        ("7d", "2026-11-16T12:34:00Z"),
        (" 7d ", "2026-11-16T12:34:00Z"),
        ("999999d", "1970-01-01T00:00:00Z"),
        ("2026-11-23T08:00", "2026-11-23T08:00:00Z"),
        ("2026-11-23 08:00:59.9", "2026-11-23T08:00:00Z"),
        ("2026-11-23T08:00+02:00", "2026-11-23T06:00:00Z"),
        ("2026-11-23T08:00Z", "2026-11-23T08:00:00Z"),
        ("2026-11-20", "2026-11-20T00:00:00Z"),
    ],
)
def test_since_is_rounded_down_to_the_minute(since: str, start: str) -> None:
    assert parse_period(NOW_MS, since).since_ms == at(start)


def test_a_period_includes_the_current_minute() -> None:
    assert parse_period(NOW_MS, "1h").until_ms == at("2026-11-23T12:35:00Z")
    assert parse_period(at("2026-11-23T12:34Z"), "1h").until_ms == at("2026-11-23T12:35:00Z")


@pytest.mark.parametrize(
    "since",
    ["", "0h", "-1h", "1.5h", "1w", "h", "1234567m", "٣h", "soon", "2026-13-01", "1 h", "nan",
     "2026-11-23T12:35", "2027-01-01", "1m\n1m"],
)  # fmt: skip
def test_an_invalid_since_is_rejected(since: str) -> None:
    with pytest.raises(BadPeriod, match=r"^since is '"):
        parse_period(NOW_MS, since)


@pytest.mark.parametrize(
    ("until", "end"),
    [
        ("1m", "2026-11-23T12:33:00Z"),
        ("24h", "2026-11-22T12:34:00Z"),
        ("2026-11-23T12:34", "2026-11-23T12:34:00Z"),
        ("2026-11-23T08:00:59+02:00", "2026-11-23T06:00:00Z"),
    ],
)
def test_a_period_may_end_in_the_past(until: str, end: str) -> None:
    """Ages are rounded alike, so that the periods before and after one time do not overlap."""
    assert parse_period(NOW_MS, "7d", until).until_ms == at(end)
    assert parse_period(NOW_MS, until).since_ms == at(end)


@pytest.mark.parametrize(
    "until",
    ["soon", "2026-11-23T12:35", "2027-01-01", "2h", "3h", "2026-11-23T10:34", "1969-01-01"],
)
def test_an_invalid_until_is_rejected(until: str) -> None:
    with pytest.raises(BadPeriod, match=r"^until is '"):
        parse_period(NOW_MS, "2h", until)


def test_until_is_after_the_start_of_all_data() -> None:
    with pytest.raises(BadPeriod, match=r"^until is '1969-01-01', which is not after the start"):
        parse_period(NOW_MS, None, "1969-01-01")


@pytest.mark.parametrize("since", ["0001-01-01", "0001-01-01T00:00+14:00"])
def test_since_may_be_before_1970(since: str) -> None:
    assert parse_period(NOW_MS, since).since_ms < 0


@pytest.mark.parametrize("region", ["AU", "au", "australia-pacific", "Western Europe"])
def test_a_region_selects_its_countries(region: str) -> None:
    period = parse_period(NOW_MS, "1h", region=region)
    assert (period.region, period.countries) == (region, members(region))
    assert period.scope([3]).regions == members(region)


@pytest.mark.parametrize("region", ["", "XX", "atlantis", "AU,NZ"])
def test_an_unknown_region_is_rejected(region: str) -> None:
    with pytest.raises(BadPeriod, match=r"^region is '"):
        parse_period(NOW_MS, "1h", region=region)


def test_an_error_quotes_a_long_since_in_part() -> None:
    with pytest.raises(BadPeriod) as rejection:
        parse_period(NOW_MS, "x" * 1000)
    assert len(str(rejection.value)) < 250


def test_ages_are_taken_at_the_end_of_the_period_at_most_now() -> None:
    assert parse_period(NOW_MS, "1h").as_of_ms == NOW_MS
    assert parse_period(NOW_MS, "1d", "1h").as_of_ms == at("2026-11-23T11:34:00Z")
    assert Period(0, DAY_MS).as_of_ms == DAY_MS


def test_whole_days_cover_the_period() -> None:
    assert parse_period(NOW_MS, "24h", region="AU").whole_days == Period(
        at("2026-11-22T00:00Z"), at("2026-11-24T00:00Z"), "AU", members("AU"), NOW_MS
    )
    day = Period(at("2026-11-22T00:00Z"), at("2026-11-23T00:00Z"))
    assert day.whole_days == day


@pytest.mark.parametrize(
    ("length_ms", "slot_ms"),
    [
        (MINUTE_MS, MINUTE_MS),
        (HOUR_MS, MINUTE_MS),
        (2 * HOUR_MS, 2 * MINUTE_MS),
        (DAY_MS, 30 * MINUTE_MS),
        (7 * DAY_MS, 6 * HOUR_MS),
        (60 * DAY_MS, DAY_MS),
        (61 * DAY_MS, 2 * DAY_MS),
    ],
)
def test_a_series_has_the_smallest_step_that_fits(length_ms: int, slot_ms: int) -> None:
    assert Period(0, length_ms).slot_ms(None) == slot_ms
    assert Period(0, 400 * DAY_MS).slot_ms(400 * DAY_MS - length_ms) in (slot_ms, 2 * slot_ms)


@given(
    since=st.integers(0, 50 * 365 * 24 * 60),
    length=st.integers(1, 50 * 365 * 24 * 60),
    first_ms=st.none() | st.integers(0, 100 * 365 * DAY_MS),
)
def test_a_series_has_at_most_max_points(since: int, length: int, first_ms: int | None) -> None:
    """Slots begin at multiples of the step, so the first and the last may exceed the period."""
    period = Period(since * MINUTE_MS, (since + length) * MINUTE_MS)
    slot_ms = period.slot_ms(first_ms)
    begin_ms = max(period.since_ms, first_ms or 0)
    assert slot_ms % MINUTE_MS == 0
    assert len(range(begin_ms // slot_ms, -(-period.until_ms // slot_ms))) <= MAX_POINTS
