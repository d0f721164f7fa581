"""The units of an A/B test, and the feedback that counts for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    """Units at their first assignment. A row may stand for several units without feedback.

    Attributes:
        unit, epoch, hour: int64 [n].
        region: str [n], empty for none.
        treated: bool [n].
        count: float64 [n], the number of units in the row.
    """

    unit: Ints
    epoch: Ints
    hour: Ints
    region: Texts
    treated: Flags
    count: Floats

    def assigned(self) -> AssignedUnits:
        """The units with their strata, for a comparison."""
        stratum = strata(self.epoch, self.hour, self.treated, count=self.count)
        return AssignedUnits(self.unit, stratum, self.treated, self.count)


@dataclass(frozen=True, slots=True, eq=False)
class Participants:
    """The assigned units, and which feedback belongs to them.

    Attributes:
        feedback_unit: int64 [m], the unit of each row of feedback.
        is_eligible: bool [m], whether the unit was first assigned in the period, and under the same
            weight as the prediction that the feedback is about.
    """

    units: Units
    feedback_unit: Ints
    is_eligible: Flags


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
    units: Units, feedback_unit: Ints, feedback_epoch: Ints, weights: Mapping[int, float]
) -> Participants:
    """Which feedback belongs to users or sessions.

    A change of the weight may move a unit to the other arm: later feedback counts for neither.

    Args:
        units: Ordered by unit.
        feedback_unit, feedback_epoch: int64 [m], of the prediction that the feedback is about.
        weights: Epoch number -> configured share of treatment.
    """
    is_eligible = np.isin(feedback_unit, units.unit)
    first_epoch = units.epoch[np.searchsorted(units.unit, feedback_unit[is_eligible])]
    is_eligible[is_eligible] = _weights_of(feedback_epoch[is_eligible], weights) == _weights_of(
        first_epoch, weights
    )
    return Participants(units, feedback_unit, is_eligible)


def match_requests(
    cells: Cells, exposures: Ints, regions: Texts, feedback: Cells, in_test: Flags
) -> Participants:
    """Which feedback belongs to requests, each of which is a unit.

    Exposures with feedback are a row each. Those without are one row per cell.

    Args:
        cells: Distinct cells.
        exposures: int64 [n], the exposures of each cell.
        regions: The names of the region codes.
        feedback: Of the prediction that the feedback is about.
        in_test: bool [m], whether that prediction was assigned one of the two versions.
    """
    codes, feedback_codes = cells.codes, feedback.codes
    is_eligible = in_test & np.isin(feedback_codes, codes)
    order = np.argsort(codes)
    cell = order[np.searchsorted(codes[order], feedback_codes[is_eligible])]
    without_feedback = exposures - np.bincount(cell, minlength=len(codes))

    rows = np.concatenate([cell, np.arange(len(codes))])
    units = Units(
        np.arange(len(rows)),
        cells.epoch[rows],
        cells.hour[rows],
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


def check_response(units: Units, feedback_unit: Ints, weights: Mapping[int, float]) -> Srm:
    """Whether both arms give feedback at the same rate.

    Args:
        feedback_unit: int64 [m], the units with feedback.
        weights: Epoch number -> configured share of treatment.
    """
    has_feedback = np.isin(units.unit, feedback_unit)
    counts = []
    for number, weight in weights.items():
        in_epoch = has_feedback & (units.epoch == number)
        treatment = int((in_epoch & units.treated).sum())
        counts.append(SrmCounts(number, int(in_epoch.sum()) - treatment, treatment, weight))
    return check(counts)


def _weights_of(epoch: Ints, weights: Mapping[int, float]) -> Floats:
    """float64 [n]: the configured share of treatment in each epoch."""
    numbers = sorted(weights)
    shares = np.array([weights[number] for number in numbers])
    return np.asarray(shares[np.searchsorted(numbers, epoch)])
