"""Reads the units of an A/B test, and the feedback that counts for them."""

from __future__ import annotations

import numpy as np

from serve_app.clock import HOUR_MS
from serve_app.evidence.participants import (
    Cells,
    Participants,
    Units,
    match_requests,
    match_units,
)
from serve_app.reports.experiment import Experiment
from serve_app.reports.period import Period
from serve_app.rules.plan import Reason
from serve_app.store.labelled_feedback import LabelledFeedback
from serve_app.store.store import Store


def find_participants(
    store: Store, test: Experiment, period: Period, feedback: LabelledFeedback
) -> Participants:
    """The units that were assigned in the period.

    Args:
        feedback: Feedback on predictions with the reason `split`.
    """
    find = _find_requests if test.unit == "request" else _find_units
    return find(store, test, period, feedback)


def _find_units(
    store: Store, test: Experiment, period: Period, feedback: LabelledFeedback
) -> Participants:
    """Users or sessions, each at its first assignment."""
    firsts = store.first_assignments(test.name, period.scope(test.epoch_numbers))
    treated = firsts.version.equals(test.treatment)
    in_test = treated | firsts.version.equals(test.control)
    units = Units(
        firsts.unit[in_test],
        firsts.epoch[in_test].astype(np.int64),
        firsts.at_ms[in_test] // HOUR_MS,
        firsts.region.texts()[in_test],
        treated[in_test],
        np.ones(int(in_test.sum())),
    )
    return match_units(units, feedback.unit, feedback.epoch, test.weights)


def _find_requests(
    store: Store, test: Experiment, period: Period, feedback: LabelledFeedback
) -> Participants:
    """One unit per exposure."""
    sums = [
        row
        for row in store.exposure_sums(
            period.scope(test.epoch_numbers),
            by=("epoch", "assigned", "region", "reason"),
            slot_ms=HOUR_MS,
        )
        if row.reason == Reason.SPLIT and row.assigned in (test.control, test.treatment)
    ]
    regions, region = np.unique([row.region or "" for row in sums], return_inverse=True)
    cells = Cells(
        np.array([row.epoch or 0 for row in sums], np.int64),
        np.array([(row.at_ms or 0) // HOUR_MS for row in sums], np.int64),
        np.array([row.assigned == test.treatment for row in sums], np.bool_),
        region.astype(np.int64),
    )
    exposures = np.array([row.exposures for row in sums], np.int64)

    treated = feedback.assigned.equals(test.treatment)
    in_test = treated | feedback.assigned.equals(test.control)
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
    return match_requests(cells, exposures, regions, feedback_cells, in_test)
