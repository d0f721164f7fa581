"""Hours in which both versions of a split served, weighted to be comparable."""

from __future__ import annotations

import numpy as np

from serve_app.evidence.units import Flags, Floats

# An hour of an epoch: the number of the epoch and the start of the hour.
Hour = tuple[int, int]


def hour_weights(counts: Floats) -> tuple[Flags, Floats]:
    """The hours in which both versions served, and the weights that balance them.

    Images differ by hour, and weights by epoch: control's predictions of an hour are weighted to
    the number of treatment's.

    Args:
        counts: [hours, 2, classes], for control and treatment.

    Returns:
        bool [hours], and float64 [hours with both, 2]: 1 for treatment, and for control the ratio
        of treatment's count to its own.
    """
    sizes = counts.sum(axis=2)
    has_both = np.all(sizes > 0, axis=1)
    return has_both, sizes[has_both][:, [1]] / sizes[has_both]
