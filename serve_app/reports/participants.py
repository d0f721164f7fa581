"""Reads the units of an A/B test, and the feedback that counts for them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from serve_app.clock import HOUR_MS, MINUTE_MS
from serve_app.durations import duration_ms
from serve_app.evidence.participants import (
    Cells,
    Participants,
    Predictions,
    Units,
    match_requests,
    match_units,
)
from serve_app.evidence.units import Flags, Ints
from serve_app.evidence.verdict import Pace
from serve_app.reports import settling
from serve_app.reports.experiment import Experiment
from serve_app.reports.parts import Arms, Settling
from serve_app.reports.period import Period
from serve_app.rules.ab_test import ABTest
from serve_app.rules.plan import Reason
from serve_app.store.exposure_sums import ExposureSum
from serve_app.store.labelled_feedback import LabelledFeedback
from serve_app.store.scope import Scope
from serve_app.store.store import Store

_MOST = 0.9  # of the units that are settling
_SLOTS_A_WINDOW = 60


@dataclass(frozen=True, slots=True)
class SettlingTimes:
    """When the units that are settling will count, milliseconds since 1970 UTC.

    Attributes:
        first_ms: The first of them.
        most_ms: Nine in ten.
    """

    first_ms: int
    most_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class FoundUnits:
    """The units that were assigned in the period.

    Attributes:
        participants: Those that count for the verdict, and their feedback.
        settling: How many count.
        times: None if no unit is settling.
        is_early: bool [m], whether each row of feedback is of a unit that is settling.
        pace: None after the end of the test.
    """

    participants: Participants
    settling: Settling
    times: SettlingTimes | None
    is_early: Flags
    pace: Pace | None


def find_units(
    store: Store, test: Experiment, period: Period, feedback: LabelledFeedback
) -> FoundUnits:
    """The units of a test.

    A user or session is settled when its feedback can no longer change: when the `settle` of the
    rule is over, and then the window of the outcome. A request only has the window.

    Args:
        feedback: m predictions with feedback, with the reason `split`, of the two versions.
    """
    rule = test.rule
    assert isinstance(rule, ABTest)  # noqa: S101 the report of this kind
    window_ms = duration_ms(rule.outcome.window)
    find = _find_requests if test.unit == "request" else _find_users
    return find(store, test, period, feedback, window_ms)


def _find_users(
    store: Store, test: Experiment, period: Period, feedback: LabelledFeedback, window_ms: int
) -> FoundUnits:
    """Users or sessions, each at its first assignment."""
    found = settling.find_units(store, test, period, window_ms)
    rows, settlement, age_ms = found.rows, found.settlement, found.settling.settle_ms
    settled = rows.select(settlement.is_settled)
    units = Units(
        settled.unit,
        settled.epoch,
        settled.at_ms // HOUR_MS,
        settlement.weight[settlement.is_settled],
        settled.region.texts(),
        found.treated[settlement.is_settled],
        np.ones(len(settled.unit)),
    )
    about = Predictions(feedback.unit, feedback.at_ms, feedback.assigned.equals(test.treatment))
    young = rows.select(settlement.is_settling)
    return FoundUnits(
        match_units(units, settled.at_ms, about, test.settle_ms),
        found.settling,
        _settling_times(young.at_ms + age_ms),
        np.isin(feedback.unit, young.unit),
        test.pace(rows.at_ms, period.as_of_ms, age_ms),
    )


def _find_requests(
    store: Store, test: Experiment, period: Period, feedback: LabelledFeedback, window_ms: int
) -> FoundUnits:
    """One unit per exposure. It is settled when its minute and the window are over."""
    settled_ms = (period.as_of_ms - window_ms) // MINUTE_MS * MINUTE_MS
    scope = period.scope(test.epoch_numbers)
    sums = _count_requests(store, test, replace(scope, until_ms=settled_ms), HOUR_MS)
    regions, region = np.unique([row.region or "" for row in sums], return_inverse=True)
    epoch = np.array([row.epoch or 0 for row in sums], np.int64)
    cells = Cells(
        epoch,
        np.array([(row.at_ms or 0) // HOUR_MS for row in sums], np.int64),
        np.array([row.assigned == test.treatment for row in sums], np.bool_),
        region.astype(np.int64),
    )
    exposures = np.array([row.exposures for row in sums], np.int64)
    weight = np.array([test.weights[number] for number in epoch.tolist()], np.float64)

    treated = feedback.assigned.equals(test.treatment)
    region_codes = {name: code for code, name in enumerate(regions.tolist())}
    code_of_category = np.array(
        [region_codes.get(name, -1) for name in feedback.region.categories], np.int64
    )
    feedback_cells = Cells(
        feedback.epoch.astype(np.int64),
        feedback.at_ms // HOUR_MS,
        treated,
        code_of_category[feedback.region.codes],
    )
    is_early = feedback.at_ms >= settled_ms

    slot_ms = max(1, window_ms // _SLOTS_A_WINDOW // MINUTE_MS) * MINUTE_MS
    young_scope = replace(scope, since_ms=max(settled_ms, period.since_ms))
    young = _count_requests(store, test, young_scope, slot_ms)
    young_ms = _repeat_times(young, slot_ms)
    return FoundUnits(
        match_requests(cells, weight, exposures, regions, feedback_cells, ~is_early),
        Settling(
            window_ms,
            Arms(int(exposures[~cells.treated].sum()), int(exposures[cells.treated].sum())),
            len(young_ms),
            0,
        ),
        _settling_times(young_ms + window_ms),
        is_early,
        test.pace(
            np.concatenate([_repeat_times(sums, HOUR_MS), young_ms]), period.as_of_ms, window_ms
        ),
    )


def _count_requests(
    store: Store, test: Experiment, scope: Scope, slot_ms: int
) -> list[ExposureSum]:
    """The exposures of the split by epoch, version, region and time."""
    return [
        row
        for row in store.exposure_sums(
            scope, by=("epoch", "assigned", "region", "reason"), slot_ms=slot_ms
        )
        if row.reason == Reason.SPLIT and row.assigned in (test.control, test.treatment)
    ]


def _repeat_times(sums: list[ExposureSum], slot_ms: int) -> Ints:
    """[exposures]: the end of the slot of each."""
    ends = np.array([(row.at_ms or 0) + slot_ms for row in sums], np.int64)
    return np.repeat(ends, [row.exposures for row in sums])


def _settling_times(counts_from_ms: Ints) -> SettlingTimes | None:
    if not len(counts_from_ms):
        return None
    return SettlingTimes(
        int(counts_from_ms.min()), int(np.quantile(counts_from_ms, _MOST, method="inverted_cdf"))
    )
