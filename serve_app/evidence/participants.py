"""The units of an A/B test, and the feedback that counts for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from serve_app.evidence.confidence import ALPHA, bonferroni
from serve_app.evidence.outcome import AssignedUnits, FeedbackRows, Metric
from serve_app.evidence.preference import BoundedComparison, compare_overall
from serve_app.evidence.srm import Srm, SrmCounts, check
from serve_app.evidence.units import Flags, Floats, Ints, Rows, Texts, strata


@dataclass(frozen=True, slots=True, eq=False)
class Units(Rows):
    """Settled units at their first assignment. A row may stand for several without feedback.

    Attributes:
        unit, epoch, hour: int64 [n].
        weight: float64 [n], the share of treatment; see `settled.Settlement.weight`.
        region: str [n], empty for none.
        treated: bool [n].
        count: float64 [n], the number of units in the row.
    """

    unit: Ints
    epoch: Ints
    hour: Ints
    weight: Floats
    region: Texts
    treated: Flags
    count: Floats

    def assigned(self) -> AssignedUnits:
        """The units with their strata, for a comparison. The weight in a stratum is constant."""
        weights, weight = np.unique(self.weight, return_inverse=True)
        split = self.epoch * len(weights) + weight
        stratum = strata(split, self.hour, self.treated, count=self.count)
        return AssignedUnits(self.unit, stratum, self.treated, self.count)


@dataclass(frozen=True, slots=True, eq=False)
class Participants:
    """The settled units, and which feedback belongs to them.

    Attributes:
        feedback_unit: int64 [m], the unit of each row of feedback.
        is_eligible: bool [m], whether the feedback is about a prediction of a settled unit while it
            settled, on its side.
    """

    units: Units
    feedback_unit: Ints
    is_eligible: Flags


@dataclass(frozen=True, slots=True, eq=False)
class Predictions(Rows):
    """The predictions that feedback is about.

    Attributes:
        unit, at_ms: int64 [m].
        treated: bool [m], whether treatment was assigned; control otherwise.
    """

    unit: Ints
    at_ms: Ints
    treated: Flags


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The epoch, hour, arm and region of some rows; columns of length n.

    Attributes:
        epoch, hour: int64 [n].
        treated: bool [n].
        region: int64 [n], codes, the same in all `Cells` that are compared; -1 if unknown.
    """

    epoch: Ints
    hour: Ints
    treated: Flags
    region: Ints

    @property
    def codes(self) -> Ints:
        """[n]: one number for each epoch, hour, arm and region; -1 if the region is unknown."""
        return ((self.epoch << 32 | self.hour) << 1 | self.treated) << 12 | self.region


def match_units(
    units: Units, first_at_ms: Ints, about: Predictions, settle_ms: int
) -> Participants:
    """Which feedback belongs to users or sessions.

    Args:
        units: Ordered by unit.
        first_at_ms: int64 [n], the time of their first assignment.
        settle_ms: The age at which they were settled.
    """
    is_eligible = np.isin(about.unit, units.unit)
    row = np.searchsorted(units.unit, about.unit[is_eligible])
    found = about.select(is_eligible)
    is_eligible[is_eligible] = (found.treated == units.treated[row]) & (
        found.at_ms < first_at_ms[row] + settle_ms
    )
    return Participants(units, about.unit, is_eligible)


def match_requests(
    cells: Cells,
    weight: Floats,
    exposures: Ints,
    regions: Texts,
    feedback: Cells,
    may_count: Flags,
) -> Participants:
    """Which feedback belongs to requests, each of which is a unit.

    Exposures with feedback are a row each. Those without are one row per cell.

    Args:
        cells: Distinct cells.
        weight: float64 [n], the share of treatment in each cell.
        exposures: int64 [n], the settled exposures of each cell.
        regions: The names of the region codes.
        feedback: Of the prediction that the feedback is about.
        may_count: bool [m], whether that prediction is settled and was assigned one of the two
            versions.
    """
    codes, feedback_codes = cells.codes, feedback.codes
    is_eligible = may_count & np.isin(feedback_codes, codes)
    order = np.argsort(codes)
    cell = order[np.searchsorted(codes[order], feedback_codes[is_eligible])]
    without_feedback = exposures - np.bincount(cell, minlength=len(codes))

    rows = np.concatenate([cell, np.arange(len(codes))])
    units = Units(
        np.arange(len(rows)),
        cells.epoch[rows],
        cells.hour[rows],
        weight[rows],
        regions[cells.region[rows]] if len(regions) else np.array([], np.str_),
        cells.treated[rows],
        np.concatenate([np.ones(len(cell)), np.maximum(without_feedback, 0)]),
    )
    feedback_unit = np.full(len(is_eligible), -1, np.int64)
    feedback_unit[is_eligible] = np.arange(len(cell))
    return Participants(units, feedback_unit, is_eligible)


def compare_slices(
    units: Units, by: Ints | Texts, feedback: FeedbackRows, metric: Metric
) -> Iterator[tuple[Any, BoundedComparison]]:
    """All events in slices of the units, for diagnosis. The intervals are simultaneous.

    Args:
        by: [n], the slice of each unit.
    """
    names = np.unique(by)
    for name in names:
        members = units.select(by == name)
        compared = compare_overall(
            members.assigned(),
            feedback.for_units(members.unit),
            metric,
            bonferroni(ALPHA, len(names)),
        )
        yield name.item(), compared


def check_response(units: Units, feedback_unit: Ints) -> Srm:
    """Whether both arms give feedback at the same rate.

    Args:
        feedback_unit: int64 [m], the units with feedback.
    """
    has_feedback = np.isin(units.unit, feedback_unit)
    counts = []
    for number, weight in enumerate(np.unique(units.weight).tolist()):
        is_in = has_feedback & (units.weight == weight)
        treatment = int((is_in & units.treated).sum())
        counts.append(SrmCounts(number, int(is_in.sum()) - treatment, treatment, weight))
    return check(counts)
