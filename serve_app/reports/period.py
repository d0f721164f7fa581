"""The time and the regions that a report is about."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, count

from models.validation import quote
from serve_app import durations, times
from serve_app.clock import DAY_MS, HOUR_MS, MINUTE_MS
from serve_app.errors import BadPeriod
from serve_app.regions import describe_unknown_region, members
from serve_app.store.scope import Scope

MAX_POINTS = 60
_SLOTS_MS = [n * MINUTE_MS for n in (1, 2, 5, 10, 15, 30)] + [n * HOUR_MS for n in (1, 2, 6, 12)]


@dataclass(frozen=True, slots=True)
class CoveredPeriod:
    """The period of an assessment; `since_ms` is None for all data."""

    since_ms: int | None
    until_ms: int
    region: str | None


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open interval of time, optionally in one region.

    Attributes:
        since_ms, until_ms: Milliseconds since 1970 UTC, whole minutes; `until_ms` is excluded.
        region: As in the request; None for all regions.
        countries: The members of the region, ISO 3166-1 alpha-2.
        now_ms: When the report is made; None for `until_ms` or later.
    """

    since_ms: int
    until_ms: int
    region: str | None = None
    countries: frozenset[str] | None = None
    now_ms: int | None = None

    @property
    def as_of_ms(self) -> int:
        """The time at which the ages of units are taken: the end of the period, at most now."""
        return self.until_ms if self.now_ms is None else min(self.until_ms, self.now_ms)

    def scope(self, epochs: Collection[int] | None = None) -> Scope:
        """The period as a filter of the store.

        Args:
            epochs: Epoch numbers; None for all.
        """
        return Scope(self.since_ms, self.until_ms, epochs=epochs, regions=self.countries)

    @property
    def whole_days(self) -> Period:
        """The period widened to whole UTC days. The store has the sums of a unit by day."""
        since_ms, until_ms = self.since_ms // DAY_MS * DAY_MS, -(-self.until_ms // DAY_MS) * DAY_MS
        return replace(self, since_ms=since_ms, until_ms=until_ms)

    def slot_ms(self, first_ms: int | None) -> int:
        """The step of a time series with at most `MAX_POINTS` points, in milliseconds.

        Slots begin at multiples of the step.

        Args:
            first_ms: The time of the first entry; None for the start of the period.
        """
        first_ms = max(self.since_ms, first_ms or 0)
        days = (n * DAY_MS for n in count(1))
        return next(
            slot
            for slot in chain(_SLOTS_MS, days)
            if -(-self.until_ms // slot) - first_ms // slot <= MAX_POINTS
        )

    @property
    def covered(self) -> CoveredPeriod:
        """The period as a part of an assessment."""
        return CoveredPeriod(self.since_ms or None, self.until_ms, self.region)


def parse_period(
    now_ms: int, since: str | None, until: str | None = None, region: str | None = None
) -> Period:
    """The period from `since` until `until`. Both are rounded down to the minute.

    Args:
        since: A duration before now, such as 7d; or an ISO 8601 time, UTC unless it has an offset;
            None for all data.
        until: As `since`; None for now, the current minute included.
        region: A country or a group of `serve_app.regions`; None for all regions.

    Raises:
        BadPeriod: An argument is invalid, or `until` is not after `since`.
    """
    since_ms = _past_ms("since", since, now_ms) if since is not None else 0
    until_ms = (
        _past_ms("until", until, now_ms)
        if until is not None
        else (now_ms // MINUTE_MS + 1) * MINUTE_MS
    )
    if since_ms >= until_ms:
        raise BadPeriod(f"until is '{until}', which is not after the start of the period")
    countries = None
    if region is not None:
        countries = members(region)
        if countries is None:
            raise BadPeriod(f"region {describe_unknown_region(region)}")
    return Period(since_ms, until_ms, region, countries, now_ms)


def _past_ms(name: str, time: str, now_ms: int) -> int:
    """A past time in milliseconds since 1970 UTC, rounded down to the minute."""
    at_ms = _time_ms(name, time.strip(), now_ms)
    if at_ms >= now_ms:
        raise BadPeriod(f"{name} is '{time}', which is not in the past")
    return at_ms // MINUTE_MS * MINUTE_MS


def _time_ms(name: str, time: str, now_ms: int) -> int:
    """A time, or the time before now that a duration is, in milliseconds since 1970 UTC."""
    with suppress(ValueError):
        return max(0, now_ms - durations.duration_ms(time))
    with suppress(ValueError):
        return times.time_ms(time)
    hint = durations.other_spelling(time) or times.other_spelling(time)
    raise BadPeriod(
        f"{name} is {quote(time)}: expected {durations.EXPECTED}, or {times.EXPECTED}"
        + (f"; {hint}" if hint else "")
    )
