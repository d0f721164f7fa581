"""The parts that assessments share: estimates, checks and comparisons as plain values.

The names of the fields are the keys of the JSON; see `serve_app.reports.to_json`.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Generic, Self, TypeVar

import numpy as np

from serve_app.evidence import confidence
from serve_app.evidence.comparison import Comparison
from serve_app.evidence.confidence import Interval, fixed_horizon, interval_variance
from serve_app.evidence.drift import Drift
from serve_app.evidence.power import detectable_effect, units_needed, units_to_decide
from serve_app.evidence.settled import Settlement
from serve_app.evidence.srm import Srm
from serve_app.evidence.units import Flags
from serve_app.evidence.verdict import Direction, Finding, Measure, Pace, decide

Value = TypeVar("Value")

# Metadata of a field: its keys stand among those of its owner.
INLINE = {"inline": True}


@dataclass(frozen=True, slots=True)
class Arms(Generic[Value]):
    """A value of both arms, by the names that the assessment has for them."""

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
class Settling:
    """How many of the assigned units count for the verdict.

    Attributes:
        settle_ms: The age at which a unit counts.
        settled: Those that count.
        settling: Those that are younger.
        changed_sides: Those that do not count, because a change of the weight put them on the other
            side before they had this age.
    """

    settle_ms: int
    settled: Arms[int]
    settling: int
    changed_sides: int

    @classmethod
    def of(cls, settlement: Settlement, treated: Flags, settle_ms: int) -> Settling:
        """The counts of a settlement.

        Args:
            treated: [n], see `serve_app.evidence.settled.AssignedAt`.
        """
        settled = settlement.is_settled
        return cls(
            settle_ms,
            Arms(int((settled & ~treated).sum()), int((settled & treated).sum())),
            int(np.count_nonzero(settlement.is_settling)),
            int(np.count_nonzero(settlement.changed_sides)),
        )


@dataclass(frozen=True, slots=True)
class ArmComparison:
    """A mean of units in both arms, and its difference; nan if it is not known.

    Attributes:
        difference: Treatment minus control.
        interval: Of the difference, always valid.
        fixed_horizon_interval: Of the difference, for one planned look.
        units: Compared units.
        strata: Compared strata.
        strata_excluded: Strata that were not compared, because an arm was empty.
        units_excluded: The units of these strata.
    """

    control: float
    treatment: float
    difference: float
    interval: Interval
    fixed_horizon_interval: Interval
    units: Arms[int]
    strata: int
    strata_excluded: int
    units_excluded: int

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
            fixed_horizon_interval=_single_look(compared),
            units=Arms(compared.units_control, compared.units_treatment),
            strata=compared.strata,
            strata_excluded=compared.strata_left_out,
            units_excluded=compared.units_left_out,
        )


@dataclass(frozen=True, slots=True)
class AssessedMeasure:
    """A measure in both arms, with its finding and power.

    Attributes:
        measure: Its name.
        unit: Such as ms; None for a share.
        tolerance: The smallest difference that matters, above 0.
        detectable_effect: The difference that the present units find with a power of 80 %; None
            without a variance, or if more units cannot decide.
        units_needed: The units of both arms that find the tolerance with that power; None as
            above, or if they are too many.
        units_to_decide: The units of both arms with which the interval decides if the difference
            and the variance stay; None as above.
        alpha: The error probability of the interval.
    """

    measure: str
    unit: str | None
    direction: Direction
    tolerance: float
    compared: ArmComparison = field(metadata=INLINE)
    finding: Finding
    sentence: str
    detectable_effect: float | None
    units_needed: int | None
    units_to_decide: int | None
    alpha: float

    @classmethod
    def of(
        cls,
        measure: Measure,
        compared: Comparison,
        srm: Srm,
        pace: Pace | None,
        interval: Interval | None = None,
        *,
        possible: Interval | None = None,
        undecidable: str | None = None,
    ) -> AssessedMeasure:
        """Decide a measure.

        Args:
            pace: How fast more units come; None if the experiment has ended.
            interval: An always valid interval of the difference; by default that of the comparison.
            possible: See `serve_app.evidence.power.units_to_decide`.
            undecidable: Why no number of units can decide, if it is so; a clause without a full
                stop.
        """
        alpha = measure.alpha
        if interval is None:
            interval = confidence.interval(compared, alpha)
        verdict = decide(
            measure, compared, interval, srm, pace, possible=possible, undecidable=undecidable
        )
        power = _Power() if undecidable else _Power.of(measure, compared, possible)
        return cls(
            measure=measure.name,
            unit=measure.unit,
            direction=measure.direction,
            tolerance=measure.tolerance,
            compared=ArmComparison.of(compared, interval),
            finding=verdict.finding,
            sentence=verdict.sentence,
            detectable_effect=power.detectable_effect,
            units_needed=power.units_needed,
            units_to_decide=power.units_to_decide,
            alpha=alpha,
        )

    def without_verdict(self, reason: str) -> Self:
        """The same figures, without a finding.

        Args:
            reason: A sentence that says why.
        """
        return replace(self, finding=Finding.NOT_KNOWN, sentence=reason)


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


@dataclass(frozen=True, slots=True)
class _Power:
    """See `AssessedMeasure`."""

    detectable_effect: float | None = None
    units_needed: int | None = None
    units_to_decide: int | None = None

    @classmethod
    def of(cls, measure: Measure, compared: Comparison, possible: Interval | None) -> _Power:
        alpha, units = measure.alpha, compared.units
        to_decide = units_to_decide(compared, measure.tolerance, alpha, possible)
        if not 0 < compared.unit_variance < math.inf:
            return cls(units_to_decide=to_decide)
        present = interval_variance(compared, alpha) * compared.balanced_units / 4
        weight = compared.units_treatment / units
        return cls(
            detectable_effect(units, present, weight, alpha=alpha),
            units_needed(measure.tolerance, compared.unit_variance, weight, alpha=alpha),
            to_decide,
        )


def _single_look(compared: Comparison) -> Interval:
    """The interval of the difference for one planned look, within the possible differences."""
    found = fixed_horizon(compared.difference, compared.variance)
    if compared.bounded is None or not found.is_known:
        return found
    largest = compared.bounded.width
    return replace(found, low=max(found.low, -largest), high=min(found.high, largest))
