"""Estimates as JSON: numbers that are not known are null."""

from __future__ import annotations

import math
from typing import Any

from serve_app.evidence.comparison import Comparison
from serve_app.evidence.confidence import ALPHA, Interval, Rate, fixed_horizon, interval
from serve_app.evidence.drift import Drift
from serve_app.evidence.power import detectable, units_needed
from serve_app.evidence.shadow import WeightedRate
from serve_app.evidence.srm import Srm
from serve_app.evidence.verdict import Measure, Verdict, decide


def number(value: float | None) -> float | None:
    """A finite number, or null."""
    return value if value is not None and math.isfinite(value) else None


def bounds(found: Interval) -> list[float | None]:
    """The ends of an interval."""
    return [number(found.low), number(found.high)]


def measured(
    measure: Measure,
    comparison: Comparison,
    srm: Srm,
    found: Interval | None = None,
    *,
    powered: bool = True,
) -> dict[str, Any]:
    """A measure in both arms, what is known of their difference, and what that means.

    Args:
        found: Always valid; by default the comparison's own interval.
        powered: Whether more units make the interval as narrow as one likes.
    """
    sure = interval(comparison) if found is None else found
    return {
        **compared(comparison, sure),
        "measure": measure.name,
        "unit": measure.unit,
        "direction": measure.direction,
        "min_effect": measure.min_effect,
        **decided(decide(measure, comparison, sure, srm)),
        **_power(measure, comparison, powered=powered),
    }


def compared(comparison: Comparison, found: Interval) -> dict[str, Any]:
    """Both arms, their difference, its interval that is always valid, and that of one look."""
    once = fixed_horizon(comparison.difference, comparison.variance)
    return {
        "control": number(comparison.control),
        "treatment": number(comparison.treatment),
        "difference": number(comparison.difference),
        "interval": bounds(found),
        "fixed_horizon_interval": bounds(once),
        "units": {"control": comparison.units_control, "treatment": comparison.units_treatment},
        "strata": comparison.strata,
        "strata_left_out": comparison.left_out,
        "exposures_left_out": comparison.exposures_left_out,
    }


def decided(verdict: Verdict) -> dict[str, Any]:
    """A verdict."""
    return {"finding": verdict.finding.value, "sentence": verdict.sentence}


def mismatch(srm: Srm) -> dict[str, Any]:
    """A check for SRM."""
    return {
        "control": srm.control,
        "treatment": srm.treatment,
        "expected_treatment": srm.expected,
        "p": srm.p,
        "invalid": srm.is_invalid,
    }


def moved(found: Drift | None) -> dict[str, Any]:
    """How far apart two distributions are."""
    return {
        "divergence_bits": found.divergence if found else None,
        "noise_bits": found.noise if found else None,
        "drift": found.is_drift if found else None,
    }


def share(rate: Rate) -> dict[str, Any]:
    """A rate and where it lies."""
    return {"estimate": rate.estimate, "interval": bounds(rate.interval)}


def weighted_share(found: WeightedRate) -> dict[str, Any]:
    """A rate among copies."""
    return {**share(found.rate), "images": found.images}


def _power(measure: Measure, comparison: Comparison, *, powered: bool) -> dict[str, Any]:
    """What could be shown by now, and how many units it takes to show what matters."""
    spread = comparison.unit_variance
    if not powered or not 0 < spread < math.inf:
        return {"detectable": None, "units_needed": None, "alpha": ALPHA}
    both = comparison.units_control + comparison.units_treatment
    weight = comparison.units_treatment / both
    return {
        "detectable": number(detectable(both, spread, weight)),
        "units_needed": units_needed(measure.min_effect, spread, weight),
        "alpha": ALPHA,
    }
