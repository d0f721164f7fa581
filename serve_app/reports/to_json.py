"""Estimates as JSON. Unknown numbers are null."""

from __future__ import annotations

import math
from typing import Any

from serve_app.evidence import confidence
from serve_app.evidence.comparison import Comparison
from serve_app.evidence.confidence import ALPHA, Interval, Rate, fixed_horizon
from serve_app.evidence.drift import Drift
from serve_app.evidence.power import detectable_effect, units_needed
from serve_app.evidence.shadow import WeightedRate
from serve_app.evidence.srm import Srm
from serve_app.evidence.verdict import Measure, Verdict, decide


def number(value: float | None) -> float | None:
    """The number, or None if it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def interval(bounds: Interval) -> list[float | None]:
    """The low and the high end."""
    return [number(bounds.low), number(bounds.high)]


def measure(
    definition: Measure,
    result: Comparison,
    check: Srm,
    bounds: Interval | None = None,
    *,
    has_power: bool = True,
) -> dict[str, Any]:
    """A measure in both arms, with its difference, verdict and power.

    Args:
        bounds: An always-valid interval of the difference; by default that of the comparison.
        has_power: Whether the interval narrows to a point as units are added.
    """
    if bounds is None:
        bounds = confidence.interval(result)
    return {
        **comparison(result, bounds),
        "measure": definition.name,
        "unit": definition.unit,
        "direction": definition.direction,
        "min_effect": definition.min_effect,
        **verdict(decide(definition, result, bounds, check)),
        **_power(definition, result, has_power=has_power),
    }


def comparison(result: Comparison, bounds: Interval) -> dict[str, Any]:
    """Both arms and their difference.

    Args:
        bounds: An always-valid interval of the difference.
    """
    return {
        "control": number(result.control),
        "treatment": number(result.treatment),
        "difference": number(result.difference),
        "interval": interval(bounds),
        "fixed_horizon_interval": interval(fixed_horizon(result.difference, result.variance)),
        "units": {"control": result.units_control, "treatment": result.units_treatment},
        "strata": result.strata,
        "strata_excluded": result.strata_left_out,
        "exposures_excluded": result.exposures_left_out,
    }


def verdict(decision: Verdict) -> dict[str, Any]:
    return {"finding": decision.finding.value, "sentence": decision.sentence}


def srm(check: Srm) -> dict[str, Any]:
    return {
        "control": check.control,
        "treatment": check.treatment,
        "expected_treatment": check.expected,
        "p": check.p,
        "invalid": check.is_invalid,
    }


def drift(result: Drift | None) -> dict[str, Any]:
    return {
        "divergence_bits": result.divergence if result else None,
        "noise_bits": result.noise if result else None,
        "drift": result.is_drift if result else None,
    }


def rate(estimate: Rate) -> dict[str, Any]:
    return {"estimate": estimate.estimate, "interval": interval(estimate.interval)}


def weighted_rate(estimate: WeightedRate) -> dict[str, Any]:
    return {**rate(estimate.rate), "images": estimate.images}


def _power(definition: Measure, result: Comparison, *, has_power: bool) -> dict[str, Any]:
    """The effect that the current units can detect, and the units needed for `min_effect`."""
    unit_variance = result.unit_variance
    if not has_power or not 0 < unit_variance < math.inf:
        return {"detectable_effect": None, "units_needed": None, "alpha": ALPHA}
    units = result.units_control + result.units_treatment
    weight = result.units_treatment / units
    return {
        "detectable_effect": number(detectable_effect(units, unit_variance, weight)),
        "units_needed": units_needed(definition.min_effect, unit_variance, weight),
        "alpha": ALPHA,
    }
