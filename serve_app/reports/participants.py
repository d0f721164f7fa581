"""The units of an A/B test, and the feedback that counts for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serve_app.clock import HOUR_MS
from serve_app.domain import Reason
from serve_app.evidence.outcome import AssignedUnits
from serve_app.evidence.units import Flags, Floats, Ints, Texts, strata
from serve_app.reports.experiment import Experiment
from serve_app.reports.period import Period
from serve_app.store.columns import Rows
from serve_app.store.labelled_feedback import LabelledFeedback
from serve_app.store.store import Store


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


def find_participants(
    store: Store, experiment: Experiment, period: Period, feedback: LabelledFeedback
) -> Participants:
    """The units that were assigned in the period.

    Args:
        feedback: Feedback on predictions with the reason `split`.
    """
    find = _find_requests if experiment.unit == "request" else _find_units
    return find(store, experiment, period, feedback)


def _find_units(
    store: Store, experiment: Experiment, period: Period, feedback: LabelledFeedback
) -> Participants:
    """Users or sessions, each at its first assignment."""
    firsts = store.first_assignments(experiment.name, period.scope(experiment.epoch_numbers))
    treated = firsts.version.equals(experiment.treatment)
    in_test = treated | firsts.version.equals(experiment.control)
    unit, epoch = firsts.unit[in_test], firsts.epoch[in_test].astype(np.int64)
    units = Units(
        unit,
        epoch,
        firsts.at_ms[in_test] // HOUR_MS,
        firsts.region.texts()[in_test],
        treated[in_test],
        np.ones(len(unit)),
    )
    is_eligible = np.isin(feedback.unit, unit)
    # A change of the weight may move a unit to the other arm: later feedback counts for neither.
    first_epoch = epoch[np.searchsorted(unit, feedback.unit[is_eligible])]
    is_eligible[is_eligible] = _epoch_weights(
        experiment, feedback.epoch[is_eligible]
    ) == _epoch_weights(experiment, first_epoch)
    return Participants(units, feedback.unit, is_eligible)


def _epoch_weights(experiment: Experiment, epoch: Ints) -> Floats:
    """float64 [n]: the configured share of treatment in each epoch."""
    numbers = sorted(experiment.weights)
    weights = np.array([experiment.weights[number] for number in numbers])
    return np.asarray(weights[np.searchsorted(numbers, epoch)])


def _find_requests(
    store: Store, experiment: Experiment, period: Period, feedback: LabelledFeedback
) -> Participants:
    """One unit per exposure.

    Exposures with feedback are a row each. Those without are one row per epoch, hour, region and
    arm.
    """
    sums = [
        row
        for row in store.exposure_sums(
            period.scope(experiment.epoch_numbers),
            by=("epoch", "assigned", "region", "reason"),
            slot_ms=HOUR_MS,
        )
        if row.reason == Reason.SPLIT and row.assigned in (experiment.control, experiment.treatment)
    ]
    regions, region = np.unique([row.region or "" for row in sums], return_inverse=True)
    cells = [
        (row.epoch or 0, (row.at_ms or 0) // HOUR_MS, row.assigned == experiment.treatment)
        for row in sums
    ]
    epoch, hour, arm = np.array(cells, np.int64).reshape(-1, 3).T.copy()
    exposures = np.array([row.exposures for row in sums], np.int64)
    cell = _cell_code(epoch, hour, arm, region)

    treated = feedback.assigned.equals(experiment.treatment)
    in_test = treated | feedback.assigned.equals(experiment.control)
    region_codes = {name: code for code, name in enumerate(regions.tolist())}
    code_of_category = np.array(
        [region_codes.get(name, -1) for name in feedback.region.categories], np.int64
    )
    feedback_region = code_of_category[feedback.region.codes]
    feedback_cell = _cell_code(
        feedback.epoch.astype(np.int64), feedback.at_ms // HOUR_MS, treated, feedback_region
    )
    is_eligible = in_test & (feedback_region >= 0) & np.isin(feedback_cell, cell)
    order = np.argsort(cell)
    cell_row = order[np.searchsorted(cell[order], feedback_cell[is_eligible])]
    without_feedback = exposures - np.bincount(cell_row, minlength=len(cell))

    rows = np.concatenate([cell_row, np.arange(len(cell))])
    units = Units(
        np.arange(len(rows)),
        epoch[rows],
        hour[rows],
        regions[region[rows]] if len(regions) else np.array([], np.str_),
        arm[rows].astype(np.bool_),
        np.concatenate([np.ones(len(cell_row)), np.maximum(without_feedback, 0)]),
    )
    feedback_unit = np.full(len(is_eligible), -1, np.int64)
    feedback_unit[is_eligible] = np.arange(len(cell_row))
    return Participants(units, feedback_unit, is_eligible)


def _cell_code(epoch: Ints, hour: Ints, treated: Ints | Flags, region: Ints) -> Ints:
    """One number for an epoch, hour, arm and region."""
    return ((epoch << 32 | hour) << 1 | treated) << 12 | region
