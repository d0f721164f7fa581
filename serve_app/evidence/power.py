"""What an experiment can show, by the test that is used: the confidence sequence.

All three answer for one look with so many units; looks before it only add to the power. Effects
and variances are in units of the outcome; `Comparison.unit_variance` is the variance so far. An
effect that changes the variance itself, as with shares near 0, shifts the power by some points.
"""

from __future__ import annotations

import math

from scipy.stats import norm

from serve_app.evidence.confidence import ALPHA, TUNED_FOR, critical

POWER = 0.8
MAX_UNITS = 10**12


def power(
    effect: float,
    units: int,
    unit_variance: float,
    weight: float = 0.5,
    alpha: float = ALPHA,
    tuned_for: int = TUNED_FOR,
) -> float:
    """The chance that the interval of that look excludes 0 on the side of the effect.

    Args:
        units: Of both arms.
        unit_variance: Of one unit's outcome within an arm, above 0; p (1 - p) for a share p.
        weight: The share in treatment, above 0 and below 1.

    Raises:
        ValueError: units, unit_variance or weight is out of range.
    """
    _check(unit_variance, weight)
    balanced = int(4 * weight * (1 - weight) * units)
    if balanced < 1:
        return 0.0
    error = math.sqrt(4 * unit_variance / balanced)
    return float(norm.cdf(abs(effect) / error - critical(balanced, alpha, tuned_for)))


def units_needed(
    effect: float,
    unit_variance: float,
    weight: float = 0.5,
    wanted: float = POWER,
    alpha: float = ALPHA,
    tuned_for: int = TUNED_FOR,
) -> int | None:
    """The fewest units, of both arms, with which an effect shows with the wanted power.

    Returns:
        None if a million millions are too few.
    """

    def suffices(units: int) -> bool:
        return power(effect, units, unit_variance, weight, alpha, tuned_for) >= wanted

    enough = 2
    while not suffices(enough):
        if enough > MAX_UNITS:
            return None
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if suffices(middle):
            enough = middle
        else:
            too_few = middle
    return enough


def detectable(
    units: int,
    unit_variance: float,
    weight: float = 0.5,
    wanted: float = POWER,
    alpha: float = ALPHA,
    tuned_for: int = TUNED_FOR,
) -> float:
    """The smallest effect that shows with the wanted power; infinite without units in both arms."""
    _check(unit_variance, weight)
    balanced = int(4 * weight * (1 - weight) * units)
    if balanced < 1:
        return math.inf
    error = math.sqrt(4 * unit_variance / balanced)
    return error * (critical(balanced, alpha, tuned_for) + float(norm.ppf(wanted)))


def _check(unit_variance: float, weight: float) -> None:
    if not 0 < unit_variance < math.inf:
        raise ValueError(f"unit_variance is {unit_variance}: expected above 0 and finite")
    if not 0 < weight < 1:
        raise ValueError(f"weight is {weight}: expected above 0 and below 1")
