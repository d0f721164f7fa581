"""Events that may be so rare that there is none, such as failures."""

from __future__ import annotations

import numpy as np

from serve_app.evidence.comparison import Comparison
from serve_app.evidence.confidence import (
    ALPHA,
    Interval,
    interval,
    no_event_difference,
    share_difference,
)
from serve_app.evidence.units import UnitSums, totals, unit_share


def event_interval(compared: Comparison, by_epoch: UnitSums, alpha: float = ALPHA) -> Interval:
    """Where the difference of events by exposure lies, always valid.

    Where no variance can be estimated, much is known all the same: the shares of units with an
    event, which is as much as the share of events if there is none.

    Args:
        compared: The events.
        by_epoch: The same rows, with their epochs for strata; y counts events.
    """
    known = interval(compared, alpha)
    if known.is_known or not compared.units:
        return known
    unit = unit_share(by_epoch)
    epochs, row = np.unique(unit.stratum, return_inverse=True)
    control, treatment = (totals(row, arm, len(epochs)) for arm in (~unit.treated, unit.treated))
    if len(epochs) == 1:
        events = [float(unit.y[arm].sum()) for arm in (~unit.treated, unit.treated)]
        return share_difference((events[0], control.sum()), (events[1], treatment.sum()), alpha)
    if unit.y.any():
        return known
    both = (control > 0) & (treatment > 0)
    return no_event_difference(control[both], treatment[both], alpha)
