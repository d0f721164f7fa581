"""The parts that assessments share: estimates, checks and comparisons as plain values.

The names of the fields are the keys of the JSON; see `serve_app.reports.to_json`.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from serve_app.evidence import confidence
from serve_app.evidence.comparison import Comparison
from serve_app.evidence.confidence import ALPHA, Interval, fixed_horizon
from serve_app.evidence.drift import Drift
from serve_app.evidence.power import detectable_effect, units_needed
from serve_app.evidence.srm import Srm
from serve_app.evidence.verdict import Direction, Finding, Measure, decide

Value = TypeVar("Value")

# Metadata of a field: its keys stand among those of its owner.
INLINE = {"inline": True}


@dataclass(frozen=True, slots=True)
class Arms(Generic[Value]):
    """A value of both arms."""

    control: Value
    treatment: Value


@dataclass(frozen=True, slots=True)
class Roles(Generic[Value]):
    """A value of both versions."""

    stable: Value
    candidate: Value


@dataclass(frozen=True, slots=True)
class Series(Generic[Value]):
    """Exposures over time; a slot without exposures has no point."""

    slot_ms: int
    points: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class ArmComparison:
    """A ratio in both arms, and its difference; nan if it is not known.

    Attributes:
        difference: Treatment minus control.
        interval: Of the difference, always valid.
        fixed_horizon_interval: Of the difference, for one planned look.
        units: Compared units.
        strata: Compared strata.
        strata_excluded: Strata that were not compared, because an arm was empty.
        exposures_excluded: The exposures of these strata.
    """

    control: float
    treatment: float
    difference: float
    interval: Interval
    fixed_horizon_interval: Interval
    units: Arms[int]
    strata: int
    strata_excluded: int
    exposures_excluded: float

    @classmethod
    def of(cls, compared: Comparison, interval: Interval) -> ArmComparison:
        """A comparison.

        Args:
            interval: Of the difference, always valid.
        """
        return cls(
            control=compared.control,
            treatment=compared.treatment,
            difference=compared.difference,
            interval=interval,
            fixed_horizon_interval=fixed_horizon(compared.difference, compared.variance),
            units=Arms(compared.units_control, compared.units_treatment),
            strata=compared.strata,
            strata_excluded=compared.strata_left_out,
            exposures_excluded=compared.exposures_left_out,
        )


@dataclass(frozen=True, slots=True)
class AssessedMeasure:
    """A measure in both arms, with its finding and power.

    Attributes:
        measure: Its name.
        unit: Such as ms; None for a share.
        min_effect: The smallest difference that matters, above 0.
        detectable_effect: The difference that the present units find with a power of 80 %; None
            without a variance.
        units_needed: The units of both arms that find `min_effect` with that power; None without a
            variance, or if they are too many.
        alpha: The error probability of the interval.
    """

    measure: str
    unit: str | None
    direction: Direction
    min_effect: float
    compared: ArmComparison = field(metadata=INLINE)
    finding: Finding
    sentence: str
    detectable_effect: float | None
    units_needed: int | None
    alpha: float = ALPHA

    @classmethod
    def of(
        cls,
        measure: Measure,
        compared: Comparison,
        srm: Srm,
        interval: Interval | None = None,
        *,
        has_power: bool = True,
    ) -> AssessedMeasure:
        """Decide a measure.

        Args:
            interval: An always valid interval of the difference; by default that of the comparison.
            has_power: Whether the interval narrows to a point as units are added.
        """
        if interval is None:
            interval = confidence.interval(compared)
        verdict = decide(measure, compared, interval, srm)
        effect, units = _power(measure, compared) if has_power else (None, None)
        return cls(
            measure=measure.name,
            unit=measure.unit,
            direction=measure.direction,
            min_effect=measure.min_effect,
            compared=ArmComparison.of(compared, interval),
            finding=verdict.finding,
            sentence=verdict.sentence,
            detectable_effect=effect,
            units_needed=units,
        )


@dataclass(frozen=True, slots=True)
class RegionComparison:
    """A region for diagnosis; None is the exposures without a region."""

    region: str | None
    compared: ArmComparison = field(metadata=INLINE)


@dataclass(frozen=True, slots=True)
class EpochComparison:
    """An epoch for diagnosis, with the configured share of treatment."""

    epoch: int
    weight: float
    compared: ArmComparison = field(metadata=INLINE)


@dataclass(frozen=True, slots=True)
class KnownLabels:
    """The labels that both versions know, and those that only treatment knows; sorted."""

    shared: list[str]
    new: list[str]

    @classmethod
    def of(cls, control: Collection[str], treatment: Collection[str]) -> KnownLabels:
        """The labels of both versions."""
        return cls(
            sorted(set(control) & set(treatment)),
            sorted(set(treatment) - set(control)),
        )


@dataclass(frozen=True, slots=True)
class DriftCheck:
    """Drift of labels; None where a sample is empty.

    Attributes:
        noise_bits: The divergence that chance explains at a single look.
        drift: Whether the divergence is larger.
    """

    divergence_bits: float | None
    noise_bits: float | None
    drift: bool | None

    @classmethod
    def of(cls, found: Drift | None) -> DriftCheck:
        if found is None:
            return cls(None, None, None)
        return cls(found.divergence, found.noise, found.is_drift)


def _power(measure: Measure, compared: Comparison) -> tuple[float | None, int | None]:
    """The effect that the current units can detect, and the units needed for `min_effect`."""
    unit_variance = compared.unit_variance
    if not 0 < unit_variance < math.inf:
        return None, None
    units = compared.units_control + compared.units_treatment
    weight = compared.units_treatment / units
    return (
        detectable_effect(units, unit_variance, weight),
        units_needed(measure.min_effect, unit_variance, weight),
    )
