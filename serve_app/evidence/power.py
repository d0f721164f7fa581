"""Power of an experiment that is read with `confidence.interval`.

All functions are about one look with the given number of units; earlier looks only add power.
Effects and variances are in units of the outcome. `Comparison.unit_variance` estimates the
variance. If the effect changes the variance, as with shares near 0, the power differs by a few
percentage points.

With n units, a weight w of treatment and a unit variance v, the balanced units are
b = 4 w (1 - w) n, and the standard error of the difference is sqrt(4 v / b).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.stats import norm

from serve_app.evidence.comparison import Comparison
from serve_app.evidence.confidence import (
    ALPHA,
    Interval,
    critical_value,
    interval_variance,
)

POWER = 0.8
MAX_UNITS = 10**12


def power(
    effect: float,
    units: int,
    unit_variance: float,
    weight: float = 0.5,
    alpha: float = ALPHA,
) -> float:
    """The probability that the interval excludes 0 on the side of the effect.

        Phi(|effect| / sqrt(4 v / b) - critical_value(b))

    Args:
        units: Of both arms together.
        unit_variance: Variance of the outcome of a unit within its arm, above 0; p (1 - p) for a
            share p.
        weight: The share of units in treatment, above 0 and below 1.

    Raises:
        ValueError: unit_variance or weight is out of range.
    """
    _check(unit_variance, weight)
    balanced = int(4 * weight * (1 - weight) * units)
    if balanced < 1:
        return 0.0
    error = math.sqrt(4 * unit_variance / balanced)
    return float(norm.cdf(abs(effect) / error - critical_value(balanced, alpha)))


def units_needed(
    effect: float,
    unit_variance: float,
    weight: float = 0.5,
    target_power: float = POWER,
    alpha: float = ALPHA,
) -> int | None:
    """The smallest number of units, of both arms together, with the target power for an effect.

    Returns:
        None if it is above `MAX_UNITS`.
    """

    def is_enough(units: int) -> bool:
        return power(effect, units, unit_variance, weight, alpha) >= target_power

    return _smallest(is_enough)


def detectable_effect(
    units: int,
    unit_variance: float,
    weight: float = 0.5,
    target_power: float = POWER,
    alpha: float = ALPHA,
) -> float:
    """The smallest effect with the target power; infinite without units in both arms.

    sqrt(4 v / b) (critical_value(b) + Phi^-1(target_power))
    """
    _check(unit_variance, weight)
    balanced = int(4 * weight * (1 - weight) * units)
    if balanced < 1:
        return math.inf
    error = math.sqrt(4 * unit_variance / balanced)
    return error * (critical_value(balanced, alpha) + float(norm.ppf(target_power)))


def units_to_decide(
    comparison: Comparison,
    tolerance: float,
    alpha: float = ALPHA,
    possible: Interval | None = None,
) -> int | None:
    """The units of both arms together at which the interval decides, if all figures stay.

    Each arm keeps its mean, its spread and its part of the units. The interval decides if it
    excludes 0, or lies within +- tolerance: if its half-width is below

        max(|estimate|, tolerance - |estimate|)

    Args:
        tolerance: Above 0.
        possible: The differences that more units do not tell apart, such as those for any truth of
            the units whose event is in no group; the interval extends beyond both ends by its
            half-width. None for the estimate alone.

    Returns:
        None if no number up to `MAX_UNITS` is enough.
    """
    low, high = (
        (comparison.difference, comparison.difference)
        if possible is None
        else (possible.low, possible.high)
    )
    widest = max(low, -high, min(tolerance + low, tolerance - high))
    if not (comparison.balanced_units and widest > 0):
        return None

    def is_enough(units: int) -> bool:
        growth = units / comparison.units
        balanced = int(comparison.balanced_units * growth)
        if balanced < 1:
            return False
        half = critical_value(balanced, alpha) * math.sqrt(
            interval_variance(comparison, alpha, growth)
        )
        return half < widest

    return _smallest(is_enough)


def _smallest(is_enough: Callable[[int], bool]) -> int | None:
    """The smallest number of units that is enough, from 2 on; None if it is above `MAX_UNITS`.

    Args:
        is_enough: True for all numbers above one for which it is.
    """
    enough = 2
    while not is_enough(enough):
        if enough > MAX_UNITS:
            return None
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if is_enough(middle):
            enough = middle
        else:
            too_few = middle
    return enough


def _check(unit_variance: float, weight: float) -> None:
    if not 0 < unit_variance < math.inf:
        raise ValueError(f"unit_variance is {unit_variance}: expected above 0 and finite")
    if not 0 < weight < 1:
        raise ValueError(f"weight is {weight}: expected above 0 and below 1")
