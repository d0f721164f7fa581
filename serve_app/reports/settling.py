"""The units of a split, each once, and which of them count for the verdict."""

from __future__ import annotations

from dataclasses import dataclass

from serve_app.evidence.settled import AssignedAt, Settlement, settle
from serve_app.evidence.units import Flags
from serve_app.reports.experiment import Experiment
from serve_app.reports.parts import Settling
from serve_app.reports.period import Period
from serve_app.store.store import Store
from serve_app.store.units import ExperimentUnits


@dataclass(frozen=True, slots=True, eq=False)
class SplitUnits:
    """Users or sessions by their first assignment; n of them.

    Attributes:
        rows: What happened to each, ordered by unit.
        treated: bool [n], True for treatment.
        settlement: Which of them count.
        settling: Their numbers.
    """

    rows: ExperimentUnits
    treated: Flags
    settlement: Settlement
    settling: Settling


def find_units(
    store: Store, experiment: Experiment, period: Period, wait_ms: int = 0
) -> SplitUnits:
    """The units that were first assigned one of the two versions in the period.

    Args:
        wait_ms: How much later a settled unit counts; see `serve_app.evidence.settled.settle`.
    """
    settle_ms = experiment.settle_ms
    found = store.experiment_units(
        experiment.digest, settle_ms, period.scope(experiment.epoch_numbers)
    )
    is_treated = found.version.equals(experiment.treatment)
    in_split = is_treated | found.version.equals(experiment.control)
    rows, treated = found.select(in_split), is_treated[in_split]
    assigned = AssignedAt(rows.unit, rows.epoch, rows.at_ms, rows.bucket, treated)
    settlement = settle(assigned, experiment.weight_periods, settle_ms, period.as_of_ms, wait_ms)
    settling = Settling.of(settlement, treated, settle_ms + wait_ms)
    return SplitUnits(rows, treated, settlement, settling)
