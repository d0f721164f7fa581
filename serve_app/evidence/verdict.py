"""What a comparison means, in one word and one plain sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from serve_app.evidence.comparison import Comparison
from serve_app.evidence.confidence import Interval
from serve_app.evidence.srm import Srm

Direction = Literal["decrease", "increase"]


class Finding(StrEnum):
    """What is known of treatment, beside control."""

    BETTER = "better"
    WORSE = "worse"
    NO_DIFFERENCE = "no difference"  # beyond the smallest that would matter
    KEEP_GOING = "keep going"  # the interval still holds what would matter
    INVALID = "invalid: SRM"
    NOT_KNOWN = "not known"  # nothing came that could be compared


@dataclass(frozen=True, slots=True)
class Measure:
    """What is compared.

    Attributes:
        name: As in "3.1 % of units with a complaint": "units with a complaint".
        direction: Which way is better.
        min_effect: The smallest difference that would matter, above 0, in units of the measure.
        unit: Such as ms; None for a share, which is shown in percent.
    """

    name: str
    direction: Direction
    min_effect: float
    unit: str | None = None

    def __post_init__(self) -> None:
        if not self.min_effect > 0:
            raise ValueError(f"min_effect is {self.min_effect}: expected above 0")

    def harm(self, interval: Interval) -> Interval:
        """The interval of the difference, turned so that more is worse."""
        if self.direction == "decrease":
            return interval
        return Interval(-interval.high, -interval.low, interval.always_valid)

    def value(self, value: float) -> str:
        """A level, such as 3.1 %."""
        return f"{100 * value:.1f} %" if self.unit is None else f"{value:.4g} {self.unit}"

    def change(self, value: float, *, signed: bool = True) -> str:
        """A difference, such as -1.3 points."""
        text = f"{100 * value:+.2f}" if self.unit is None else f"{value:+.4g}"
        return text if signed else text.lstrip("+")

    @property
    def change_unit(self) -> str:
        """What differences are in."""
        return self.unit or "points"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Attributes:
    is_not_worse: Whether treatment is worse by less than what would matter, or not at all.
    """

    finding: Finding
    sentence: str
    is_not_worse: bool = False


def decide(measure: Measure, comparison: Comparison, interval: Interval, srm: Srm) -> Verdict:
    """Read an interval that is always valid: one may look again and again, and stop when decided.

    A difference that is certain and too small to matter is no difference. All that is said of one
    comparison holds together, for it comes from one interval.

    Args:
        interval: Of treatment less control, in units of the measure.

    Raises:
        ValueError: The interval holds for one look only.
    """
    if not interval.always_valid:
        raise ValueError(
            "the interval has a fixed horizon: a verdict takes one that is always valid"
        )
    if srm.is_invalid:
        return Verdict(Finding.INVALID, mismatch(srm))
    if not interval.is_known:
        return Verdict(Finding.NOT_KNOWN, _unknown(measure, comparison))
    harm = measure.harm(interval)
    is_not_worse = harm.high < measure.min_effect
    limit = measure.change(measure.min_effect, signed=False)
    if is_not_worse and harm.low > -measure.min_effect:
        finding, word = (
            Finding.NO_DIFFERENCE,
            f"No difference beyond ±{limit} {measure.change_unit}",
        )
    elif harm.high < 0:
        finding, word = Finding.BETTER, "Treatment is better"
    elif harm.low > 0:
        finding, word = Finding.WORSE, "Treatment is worse"
    elif is_not_worse:
        finding = Finding.KEEP_GOING
        word = f"Keep going: treatment is not worse by {limit} {measure.change_unit} or more"
    else:
        finding, word = Finding.KEEP_GOING, "Keep going: it is not decided yet"
    return Verdict(finding, f"{word}; {_figures(measure, comparison, interval)}", is_not_worse)


def mismatch(srm: Srm) -> str:
    """The sentence of an SRM."""
    return (
        f"Invalid, sample ratio mismatch: treatment has {srm.treatment:,} of"
        f" {srm.control + srm.treatment:,} units where {srm.expected:,.0f} were to be expected"
        f" (p = {srm.p:.1g}); nothing can be read from this until the loss is found."
    )


def _figures(measure: Measure, comparison: Comparison, interval: Interval) -> str:
    return (
        f"{measure.name}: {measure.value(comparison.treatment)} in treatment,"
        f" {measure.value(comparison.control)} in control, a difference of"
        f" {measure.change(comparison.difference)} {measure.change_unit}"
        f" ({measure.change(interval.low)} to {measure.change(interval.high)})."
    )


def _unknown(measure: Measure, comparison: Comparison) -> str:
    if not comparison.units:
        return f"Not known: no period has units of both arms to compare {measure.name} by."
    return (
        f"Not known: {comparison.units:,} units give no spread to judge {measure.name} by;"
        f" {measure.value(comparison.treatment)} in treatment,"
        f" {measure.value(comparison.control)} in control."
    )
