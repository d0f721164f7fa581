"""The verdict on a comparison: a finding and a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from serve_app.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from serve_app.evidence.comparison import Comparison
from serve_app.evidence.confidence import ALPHA, Interval
from serve_app.evidence.power import units_to_decide
from serve_app.evidence.srm import Srm
from serve_app.figures import shown_decimals

Direction = Literal["decrease", "increase"]


MAX_DECIMALS = 6


class Finding(StrEnum):
    """Treatment compared with control."""

    BETTER = "better"
    WORSE = "worse"
    NO_DIFFERENCE = "no difference"  # beyond the tolerance
    KEEP_GOING = "keep going"  # the interval contains 0 or a relevant difference: undecided
    INVALID = "invalid: SRM"
    NOT_KNOWN = "not known"  # there is nothing to compare


@dataclass(frozen=True, slots=True)
class ArmNames:
    """What sentences call the arms."""

    control: str = "control"
    treatment: str = "treatment"


VERSIONS = ArmNames("stable", "candidate")  # in a canary or a shadow


@dataclass(frozen=True, slots=True)
class Measure:
    """What is compared.

    Attributes:
        name: A noun, such as "units with a complaint".
        direction: The direction that is better.
        tolerance: The smallest difference that matters, above 0, in units of the measure.
        unit: Such as ms; None for a share, which is shown in percent.
        alpha: The error probability of its interval.

    Raises:
        ValueError: tolerance is not above 0.
    """

    name: str
    direction: Direction
    tolerance: float
    unit: str | None = None
    arms: ArmNames = ArmNames()
    alpha: float = ALPHA

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise ValueError(f"tolerance is {self.tolerance}: expected above 0")

    def harm(self, interval: Interval) -> Interval:
        """The interval of the difference, with the sign changed so that a positive one is worse."""
        if self.direction == "decrease":
            return interval
        return Interval(-interval.high, -interval.low, interval.always_valid)

    def format_value(self, value: float) -> str:
        """A value of an arm, such as 3.1 %, 0.04 % or 52.2 ms."""
        if self.unit is None:
            return format_share(value)
        return f"{format_number(value, 1)} {self.unit}"

    def format_change(self, value: float, *, signed: bool = True) -> str:
        """A difference without its unit, such as -1.30."""
        change = 100 * value if self.unit is None else value
        return format_number(change, 2, sign="+" if signed else "-")

    @property
    def change_unit(self) -> str:
        """The unit of differences."""
        return self.unit or "points"

    @property
    def limit(self) -> str:
        """The tolerance and its unit."""
        return f"{self.format_change(self.tolerance, signed=False)} {self.change_unit}"


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast units settle.

    Attributes:
        units_per_day: Of both arms; None if it is not known.
    """

    units_per_day: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Attributes:
    is_not_worse: Whether treatment is certain to be worse by less than the tolerance, or not at
        all.
    """

    finding: Finding
    sentence: str
    is_not_worse: bool = False


def decide(
    measure: Measure,
    comparison: Comparison,
    interval: Interval,
    srm: Srm,
    pace: Pace | None = None,
    *,
    possible: Interval | None = None,
    undecidable: str | None = None,
) -> Verdict:
    """Decide from an always valid interval, which may be read at any time.

    With [low, high] the interval of the harm and m = tolerance, the first that applies:

        no difference: -m < low and high < m     better: high < 0
        worse:         low > 0                   keep going: otherwise

    A certain difference below m is thus "no difference". All statements about a comparison use one
    interval and hold together with probability 1 - alpha.

    Args:
        interval: Of treatment minus control, in units of the measure.
        pace: How fast more units come; None if the experiment has ended.
        possible: See `power.units_to_decide`.
        undecidable: Why no number of units can decide, if it is so; a clause without a full stop.

    Raises:
        ValueError: The interval has a fixed horizon.
    """
    if not interval.always_valid:
        raise ValueError("the interval has a fixed horizon: expected one that is always valid")
    if srm.is_invalid:
        return Verdict(Finding.INVALID, srm_sentence(srm, measure.arms))
    if not interval.is_known:
        return Verdict(Finding.NOT_KNOWN, _not_known_sentence(measure, comparison))
    harm, arms = measure.harm(interval), measure.arms
    is_not_worse = harm.high < measure.tolerance
    values = _values(measure, comparison, interval)
    if is_not_worse and harm.low > -measure.tolerance:
        finding = Finding.NO_DIFFERENCE
        start = f"{arms.treatment} and {arms.control} differ by less than {measure.limit}"
    elif harm.high < 0:
        finding, start = Finding.BETTER, f"{arms.treatment} is better"
    elif harm.low > 0:
        finding, start = Finding.WORSE, f"{arms.treatment} is worse"
    else:
        finding = Finding.KEEP_GOING
        start = (
            f"{arms.treatment} is not worse by {measure.limit} or more, and may be better"
            if is_not_worse
            else "not decided yet"
        )
        needed = units_to_decide(comparison, measure.tolerance, measure.alpha, possible)
        values = f"{values}; {outlook(comparison, needed, pace, undecidable)}"
    return Verdict(finding, f"{start}: {values}.", is_not_worse)


def srm_sentence(srm: Srm, arms: ArmNames) -> str:
    """The sentence of a verdict with an SRM."""
    return (
        f"sample ratio mismatch: {arms.treatment} has {srm.treatment:,} of"
        f" {srm.control + srm.treatment:,} units, {srm.expected:,.0f} were expected"
        f" (p = {srm.p:.1g}). Find the cause before you read the comparison."
    )


def outlook(
    comparison: Comparison, needed: int | None, pace: Pace | None, undecidable: str | None = None
) -> str:
    """How many more units decide, and how long that takes; a clause.

    Args:
        needed: The units of both arms that decide; None if no number does.
        pace, undecidable: See `decide`.
    """
    if undecidable is not None:
        return f"no number of units decides it: {undecidable}"
    if pace is None:
        return "the experiment has ended, and its units do not decide"
    if needed is None:
        return "no number of units decides it at the present figures"
    more = max(1, needed - comparison.units)
    text = f"about {_round(more):,} more settled units decide it at the present figures"
    if not pace.units_per_day:
        return text
    duration = format_days(more / pace.units_per_day)
    return f"{text}, about {duration} at {_round(math.ceil(pace.units_per_day)):,} a day"


def format_share(share: float) -> str:
    """A share in percent, such as 3.1 % or 0.04 %."""
    return f"{format_number(100 * share, 1, largest=100.0)} %"


def format_number(
    value: float, decimals: int, largest: float = math.inf, sign: Literal["+", "-"] = "-"
) -> str:
    """A number with these decimals, or more if it would have less than two significant digits.

    Args:
        largest: The largest possible value, near which numbers get as many decimals as near 0.
        sign: Of the format: + for a sign before all numbers, - for one before negative numbers.
    """
    shown = shown_decimals(value, decimals, MAX_DECIMALS, largest)
    whole, _, fraction = f"{value:{sign}z,.{shown}f}".partition(".")
    return f"{whole}.{fraction.rstrip('0'):0<{decimals}}" if fraction else whole


def _values(measure: Measure, comparison: Comparison, interval: Interval) -> str:
    arms, change = measure.arms, measure.format_change
    return (
        f"{measure.name}: {measure.format_value(comparison.treatment)} in {arms.treatment},"
        f" {measure.format_value(comparison.control)} in {arms.control}, a difference of"
        f" {change(comparison.difference)} {measure.change_unit}"
        f" ({change(interval.low)} to {change(interval.high)})"
    )


def _round(count: int) -> int:
    """A count with three significant digits."""
    return int(float(f"{count:.3g}"))


def format_days(days: float) -> str:
    """A duration in the largest unit that gives at least 1, such as 3 days or 20 minutes."""
    duration_ms = days * DAY_MS
    units = ((DAY_MS, "day"), (HOUR_MS, "hour"), (MINUTE_MS, "minute"), (SECOND_MS, "second"))
    unit_ms, name = next((unit for unit in units if duration_ms >= unit[0]), units[-1])
    count = max(1, _round(round(duration_ms / unit_ms)))
    return f"{count:,} {name}{'s' if count > 1 else ''}"


def _not_known_sentence(measure: Measure, comparison: Comparison) -> str:
    arms = measure.arms
    means = (
        (arms.treatment, comparison.treatment, comparison.units_treatment),
        (arms.control, comparison.control, comparison.units_control),
    )
    known = ", ".join(
        f"{measure.format_value(mean)} in {arm}" for arm, mean, _ in means if not math.isnan(mean)
    )
    values = f"{measure.name}: {known}" if known else measure.name
    empty = [arm for arm, mean, _ in means if math.isnan(mean)]
    single = [arm for arm, _, units in means if units == 1]
    if empty:
        reason = f"no settled unit of {' or '.join(empty)} has a value"
    elif not comparison.units:
        reason = f"no period has units of both {arms.control} and {arms.treatment}"
    elif single:
        reason = f"only one settled unit of {' and one of '.join(single)} has a value"
    else:
        reason = f"all {comparison.units:,} units have the same value"
    return f"{reason}, so the difference is not known; {values}."
