"""Who takes part in an A/B test, and whose words there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serve_app.clock import HOUR_MS
from serve_app.domain import Reason
from serve_app.evidence.outcome import Assigned
from serve_app.evidence.units import Flags, Floats, Ints, strata
from serve_app.evidence.units import Labels as Texts
from serve_app.reports.experiment import Experiment
from serve_app.reports.period import Period
from serve_app.store.columns import Rows
from serve_app.store.labelled_feedback import LabelledFeedback
from serve_app.store.store import Store


@dataclass(frozen=True, slots=True, eq=False)
class Units(Rows):
    """Each where it was assigned first; a row may be several that said nothing.

    Attributes:
        unit, epoch, hour: int64 [n].
        region: str [n], empty for none.
        treated: bool [n].
        count: float64 [n], how many the row stands for.
    """

    unit: Ints
    epoch: Ints
    hour: Ints
    region: Texts
    treated: Flags
    count: Floats

    def assigned(self) -> Assigned:
        """Ready to be compared."""
        stratum = strata(self.epoch, self.hour, self.treated, count=self.count)
        return Assigned(self.unit, stratum, self.treated, self.count)


@dataclass(frozen=True, slots=True, eq=False)
class Participants:
    """Who was assigned what, and whose words there are.

    Attributes:
        speaker: int64 [m], the unit of each labelled_feedback answer.
        heard: bool [m], whether that unit was assigned in the period, and that under the weight
            under which it was answered.
    """

    units: Units
    speaker: Ints
    heard: Flags


def trial(
    store: Store, found: Experiment, period: Period, labelled_feedback: LabelledFeedback
) -> Participants:
    """Of the units that were assigned in the period.

    Args:
        labelled_feedback: Answers that the split assigned.
    """
    of = _requests if found.unit == "request" else _units
    return of(store, found, period, labelled_feedback)


def _units(
    store: Store, found: Experiment, period: Period, labelled_feedback: LabelledFeedback
) -> Participants:
    """Users or sessions, each where it was assigned first."""
    firsts = store.assignments(found.name, period.scope(found.numbers))
    treated = firsts.version.equals(found.treatment)
    ours = treated | firsts.version.equals(found.control)
    unit, epoch = firsts.unit[ours], firsts.epoch[ours].astype(np.int64)
    units = Units(
        unit,
        epoch,
        firsts.at_ms[ours] // HOUR_MS,
        firsts.region.texts()[ours],
        treated[ours],
        np.ones(len(unit)),
    )
    heard = np.isin(labelled_feedback.unit, unit)
    # A unit may change sides when the weight does: from then on it speaks for neither.
    first = epoch[np.searchsorted(unit, labelled_feedback.unit[heard])]
    heard[heard] = _weight(found, labelled_feedback.epoch[heard]) == _weight(found, first)
    return Participants(units, labelled_feedback.unit, heard)


def _weight(found: Experiment, epoch: Ints) -> Floats:
    """[n]: the share that treatment was to get in some epochs."""
    numbers = sorted(found.weights)
    weights = np.array([found.weights[number] for number in numbers])
    return np.asarray(weights[np.searchsorted(numbers, epoch)])


def _requests(
    store: Store, found: Experiment, period: Period, labelled_feedback: LabelledFeedback
) -> Participants:
    """Every exposure a unit of its own. Those on which nothing was said are one row for each
    epoch, hour, region and arm."""
    sums = [
        one
        for one in store.exposure_sums(
            period.scope(found.numbers),
            by=("epoch", "assigned", "region", "reason"),
            slot_ms=HOUR_MS,
        )
        if one.reason == Reason.SPLIT and one.assigned in (found.control, found.treatment)
    ]
    names, region = np.unique([one.region or "" for one in sums], return_inverse=True)
    cells = [
        (one.epoch or 0, (one.at_ms or 0) // HOUR_MS, one.assigned == found.treatment)
        for one in sums
    ]
    epoch, hour, arm = np.array(cells, np.int64).reshape(-1, 3).T.copy()
    exposures = np.array([one.exposures for one in sums], np.int64)

    treats = labelled_feedback.assigned.equals(found.treatment)
    ours = treats | labelled_feedback.assigned.equals(found.control)
    place = {name: number for number, name in enumerate(names.tolist())}
    told = np.array([place.get(name, -1) for name in labelled_feedback.region.names], np.int64)
    spoken_in = told[labelled_feedback.region.codes]
    cell = _code(epoch, hour, arm, region)
    spoken = _code(
        labelled_feedback.epoch.astype(np.int64),
        labelled_feedback.at_ms // HOUR_MS,
        treats,
        spoken_in,
    )
    heard = ours & (spoken_in >= 0) & np.isin(spoken, cell)
    order = np.argsort(cell)
    row = order[np.searchsorted(cell[order], spoken[heard])]  # of the cell
    silent = exposures - np.bincount(row, minlength=len(cell))

    every = np.concatenate([row, np.arange(len(cell))])
    units = Units(
        np.arange(len(every)),
        epoch[every],
        hour[every],
        names[region[every]] if len(names) else np.array([], np.str_),
        arm[every].astype(np.bool_),
        np.concatenate([np.ones(len(row)), np.maximum(silent, 0)]),
    )
    speaker = np.full(len(heard), -1, np.int64)
    speaker[heard] = np.arange(len(row))
    return Participants(units, speaker, heard)


def _code(epoch: Ints, hour: Ints, treated: Ints | Flags, region: Ints) -> Ints:
    """One number for all four."""
    return ((epoch << 32 | hour) << 1 | treated) << 12 | region
