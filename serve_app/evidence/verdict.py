"""The verdict on a comparison: a finding and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from serve_app.evidence.comparison import Comparison
from serve_app.evidence.confidence import Interval
from serve_app.evidence.srm import Srm

Direction = Literal["decrease", "increase"]


class Finding(StrEnum):
    """Treatment compared with control."""

    BETTER = "better"
    WORSE = "worse"
    NO_DIFFERENCE = "no difference"  # of min_effect or more
    KEEP_GOING = "keep going"  # the interval contains 0 or a relevant difference: undecided
    INVALID = "invalid: SRM"
    NOT_KNOWN = "not known"  # there is nothing to compare


@dataclass(frozen=True, slots=True)
class Measure:
    """What is compared.

    Attributes:
        name: A noun, such as "units with a complaint".
        direction: The direction that is better.
        min_effect: The smallest difference that matters, above 0, in units of the measure.
        unit: Such as ms; None for a share, which is shown in percent.

    Raises:
        ValueError: min_effect is not above 0.
    """

    name: str
    direction: Direction
    min_effect: float
    unit: str | None = None

    def __post_init__(self) -> None:
        if not self.min_effect > 0:
            raise ValueError(f"min_effect is {self.min_effect}: expected above 0")

    def harm(self, interval: Interval) -> Interval:
        """The interval of the difference, with the sign changed so that a positive one is worse."""
        if self.direction == "decrease":
            return interval
        return Interval(-interval.high, -interval.low, interval.always_valid)

    def format_value(self, value: float) -> str:
        """A value of an arm, such as 3.1 %."""
        return f"{100 * value:.1f} %" if self.unit is None else f"{value:.4g} {self.unit}"

    def format_change(self, value: float, *, signed: bool = True) -> str:
        """A difference without its unit, such as -1.3."""
        text = f"{100 * value:+.2f}" if self.unit is None else f"{value:+.4g}"
        return text if signed else text.lstrip("+")

    @property
    def change_unit(self) -> str:
        """The unit of differences."""
        return self.unit or "points"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Attributes:
    is_not_worse: Whether treatment is certain to be worse by less than min_effect, or not at all.
    """

    finding: Finding
    sentence: str
    is_not_worse: bool = False


def decide(measure: Measure, comparison: Comparison, interval: Interval, srm: Srm) -> Verdict:
    """Decide from an always valid interval, which may be read at any time.

    With [low, high] the interval of the harm and m = min_effect, the first that applies:

        no difference: -m < low and high < m     better: high < 0
        worse:         low > 0                   keep going: otherwise

    A certain difference below m is thus "no difference". All statements about a comparison use one
    interval and hold together with probability 1 - alpha.

    Args:
        interval: Of treatment minus control, in units of the measure.

    Raises:
        ValueError: The interval has a fixed horizon.
    """
    if not interval.always_valid:
        raise ValueError("the interval has a fixed horizon: expected one that is always valid")
    if srm.is_invalid:
        return Verdict(Finding.INVALID, srm_sentence(srm))
    if not interval.is_known:
        return Verdict(Finding.NOT_KNOWN, _not_known_sentence(measure, comparison))
    harm = measure.harm(interval)
    is_not_worse = harm.high < measure.min_effect
    limit = f"{measure.format_change(measure.min_effect, signed=False)} {measure.change_unit}"
    if is_not_worse and harm.low > -measure.min_effect:
        finding, statement = Finding.NO_DIFFERENCE, f"No difference beyond ±{limit}"
    elif harm.high < 0:
        finding, statement = Finding.BETTER, "Treatment is better"
    elif harm.low > 0:
        finding, statement = Finding.WORSE, "Treatment is worse"
    elif is_not_worse:
        finding = Finding.KEEP_GOING
        statement = f"Keep going: treatment is not worse by {limit} or more"
    else:
        finding, statement = Finding.KEEP_GOING, "Keep going: not decided yet"
    values = _values_sentence(measure, comparison, interval)
    return Verdict(finding, f"{statement}; {values}", is_not_worse)


def srm_sentence(srm: Srm) -> str:
    """The sentence of a verdict with an SRM."""
    return (
        f"Invalid, sample ratio mismatch: treatment has {srm.treatment:,} of"
        f" {srm.control + srm.treatment:,} units, {srm.expected:,.0f} were expected"
        f" (p = {srm.p:.1g}). Find the cause before you read the comparison."
    )


def _values_sentence(measure: Measure, comparison: Comparison, interval: Interval) -> str:
    return (
        f"{measure.name}: {measure.format_value(comparison.treatment)} in treatment,"
        f" {measure.format_value(comparison.control)} in control, a difference of"
        f" {measure.format_change(comparison.difference)} {measure.change_unit}"
        f" ({measure.format_change(interval.low)} to {measure.format_change(interval.high)})."
    )


def _not_known_sentence(measure: Measure, comparison: Comparison) -> str:
    if not comparison.units:
        return f"Not known: no period has units in both arms to compare ({measure.name})."
    return (
        f"Not known: no variance can be estimated from {comparison.units:,} units; {measure.name}:"
        f" {measure.format_value(comparison.treatment)} in treatment,"
        f" {measure.format_value(comparison.control)} in control."
    )
