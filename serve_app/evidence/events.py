"""Intervals for rare events, such as errors, including the case without any event."""

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
from serve_app.evidence.units import UnitSums, sum_by_code, unit_share


def event_interval(compared: Comparison, by_epoch: UnitSums, alpha: float = ALPHA) -> Interval:
    """The always valid interval of the difference in events per exposure.

    If no variance can be estimated, the shares of units with an event are compared instead, which
    are 0 if and only if the shares of exposures are 0.

    Args:
        compared: The comparison of the events.
        by_epoch: The same rows with the epoch as stratum; y counts events.
    """
    found = interval(compared, alpha)
    if found.is_known or not compared.units:
        return found
    share = unit_share(by_epoch)
    epochs, row = np.unique(share.stratum, return_inverse=True)
    arms = (~share.treated, share.treated)
    control, treatment = (sum_by_code(row, arm, len(epochs)) for arm in arms)
    if len(epochs) == 1:
        events = [float(share.y[arm].sum()) for arm in arms]
        return share_difference((events[0], control.sum()), (events[1], treatment.sum()), alpha)
    if share.y.any():
        return found
    has_both = (control > 0) & (treatment > 0)
    return no_event_difference(control[has_both], treatment[has_both], alpha)
