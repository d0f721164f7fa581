"""Intervals of a difference of shares, by the methods that are compared.

Those of the other packages are their formulas on arrays. `tests/unit/evidence/test_oracles.py`
checks them against what the packages answered (`answers`). Where a method has no result, both ends
are infinite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
from scipy.stats import norm

from benchmarks.evidence import answers
from benchmarks.evidence.simulation import Counts
from serve_app.evidence import confidence
from serve_app.evidence.comparison import UnitGroups
from serve_app.evidence.confidence import ALPHA
from serve_app.evidence.units import Flags, Floats

GROWTHBOOK_TUNED_FOR = 5000  # its default
# Control without and with the event, treatment without and with it.
_STRATUM = np.zeros(4, np.int64)
_TREATED = np.array([False, False, True, True])
_EVENT = np.array([False, True, False, True])


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """The ends of the intervals of treatment minus control; float64 [runs, looks]."""

    low: Floats
    high: Floats


def serve_app(counts: Counts) -> Bounds:
    """What a verdict of this project reads."""
    columns = (
        counts.control_units - counts.control_events,
        counts.control_events,
        counts.treatment_units - counts.treatment_events,
        counts.treatment_events,
    )
    groups = np.stack([column.ravel() for column in columns], axis=1)
    ends = np.array([_interval(row) for row in groups]).reshape(*counts.units.shape, 2)
    return Bounds(ends[..., 0], ends[..., 1])


def growthbook(counts: Counts, tuned_for: int) -> Bounds:
    """GrowthBook's sequential interval: eq. 9 of Waudby-Smith et al. (arXiv 2103.06476v7).

    It counts the units of both arms, whatever their split. No result if all or no units of an arm
    have the event.

    Args:
        tuned_for: Its `sequential_tuning_parameter`, units.
    """
    difference, control, treatment = _difference_and_variances(counts)
    log = -2 * math.log(ALPHA)
    time = counts.units * (log + math.log(1 + log)) / tuned_for
    factor = np.sqrt(2 * (time + 1) / time * np.log(np.sqrt(time + 1) / ALPHA))
    has_result = (control > 0) & (treatment > 0)
    return _around(difference, factor * np.sqrt(control + treatment), has_result)


def spotify(counts: Counts) -> Bounds:
    """Spotify's group-sequential interval, for the looks as planned.

    Counted as without result if neither arm has a variance.
    """
    return _normal(counts, np.array(answers.load()["spotify"]["bounds"]))


def fixed_horizon(counts: Counts) -> Bounds:
    """The interval of a z-test for one look. No result if neither arm has a variance."""
    return _normal(counts, norm.isf(ALPHA / 2))


METHODS: MappingProxyType[str, Callable[[Counts], Bounds]] = MappingProxyType(
    {
        "serve-app": serve_app,
        "GrowthBook, sequential": partial(growthbook, tuned_for=GROWTHBOOK_TUNED_FOR),
        f"GrowthBook, tuned for {confidence.TUNED_FOR}": partial(
            growthbook, tuned_for=confidence.TUNED_FOR
        ),
        "Spotify, group-sequential": spotify,
        "z-test": fixed_horizon,
    }
)


def _interval(groups: Floats) -> tuple[float, float]:
    units = UnitGroups(_STRATUM, _TREATED, groups)
    found = confidence.interval(units.compare(_EVENT, bounds=(0.0, 1.0)))
    return found.low, found.high


def _normal(counts: Counts, critical: Floats | float) -> Bounds:
    difference, control, treatment = _difference_and_variances(counts)
    variance = control + treatment
    return _around(difference, critical * np.sqrt(variance), variance > 0)


def _difference_and_variances(counts: Counts) -> tuple[Floats, Floats, Floats]:
    """The difference of the shares, and the variance of each; nan for an arm without units."""
    with np.errstate(invalid="ignore"):
        control = counts.control_events / counts.control_units
        treatment = counts.treatment_events / counts.treatment_units
        return (
            treatment - control,
            control * (1 - control) / counts.control_units,
            treatment * (1 - treatment) / counts.treatment_units,
        )


def _around(difference: Floats, half: Floats, has_result: Flags) -> Bounds:
    return Bounds(
        np.where(has_result, difference - half, -math.inf),
        np.where(has_result, difference + half, math.inf),
    )
