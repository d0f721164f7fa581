"""Which units are old enough to count, and were on one side of the split until then.

A unit is in treatment under a weight w if its bucket is below w. If lo is the lowest and hi the
highest weight that it had while it settled, a unit with lo <= bucket < hi changed sides: its
outcome is that of both versions, so it counts for neither, whichever side it began on. Whether it
came back in the meantime does not matter, because that may depend on the version. The other units
are a random split: those below lo are in treatment and those from hi on in control, with the
weight lo / (lo + 1 - hi).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.evidence.units import Flags, Floats, Ints, Rows, check_columns


@dataclass(frozen=True, slots=True)
class WeightPeriod:
    """An epoch of an experiment.

    Attributes:
        from_ms, to_ms: Its start, and its end, which is not in it; None while it is in force.
        weight: The share of treatment, 0 to 1.

    Raises:
        ValueError: The weight is out of range.
    """

    epoch: int
    from_ms: int
    to_ms: int | None
    weight: float

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise ValueError(f"epoch {self.epoch} has the weight {self.weight}: expected 0 to 1")


@dataclass(frozen=True, slots=True, eq=False)
class AssignedAt(Rows):
    """The first assignments of units; columns of length n.

    Attributes:
        unit, epoch, at_ms: int64 [n]. The weight of the epoch assigned the unit; with a lagging
            ingress, the epoch may be over at this time.
        bucket: float64 [n], 0 to below 1.
        treated: bool [n], True for treatment.
    """

    unit: Ints
    epoch: Ints
    at_ms: Ints
    bucket: Floats
    treated: Flags

    def __post_init__(self) -> None:
        check_columns(
            unit=self.unit,
            epoch=self.epoch,
            at_ms=self.at_ms,
            bucket=self.bucket,
            treated=self.treated,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Settlement:
    """Columns of length n; of the first three, exactly one is True for a unit.

    Attributes:
        is_settled: bool, old enough, and on one side all the time.
        is_settling: bool, not old enough yet, and on one side so far.
        changed_sides: bool, never to be compared.
        weight: float64, the share of treatment among the settled units that had the same weights;
            0 if there can be none. Units with the same value are one random split.
    """

    is_settled: Flags
    is_settling: Flags
    changed_sides: Flags
    weight: Floats


def settle(
    units: AssignedAt,
    periods: Sequence[WeightPeriod],
    settle_ms: int,
    as_of_ms: int,
    wait_ms: int = 0,
) -> Settlement:
    """Which units count at a time.

    The weights of a unit are that of its own epoch, and all that are in force at some time from its
    first assignment until `settle_ms` later, or `as_of_ms` if that is earlier. Between epochs there
    is none.

    Args:
        periods: All epochs of the experiment, in any order.
        settle_ms: The age at which a unit is settled.
        as_of_ms: The time at which ages are taken.
        wait_ms: How much later a settled unit counts: the time in which feedback on it may come.

    Raises:
        ValueError: A unit has an epoch that is not among the periods.
    """
    low = own_weights(units.epoch, periods)
    high = low.copy()
    until_ms = np.minimum(units.at_ms + settle_ms, as_of_ms)
    for period in periods:
        in_force = period.from_ms < until_ms
        if period.to_ms is not None:
            in_force &= units.at_ms < period.to_ms
        low[in_force] = np.minimum(low[in_force], period.weight)
        high[in_force] = np.maximum(high[in_force], period.weight)
    changed_sides = (low <= units.bucket) & (units.bucket < high)
    is_old = units.at_ms + settle_ms + wait_ms <= as_of_ms
    kept = low + 1 - high
    return Settlement(
        is_settled=is_old & ~changed_sides,
        is_settling=~is_old & ~changed_sides,
        changed_sides=changed_sides,
        weight=np.where(low == high, low, low / np.where(kept > 0, kept, 1)),
    )


def own_weights(epoch: Ints, periods: Sequence[WeightPeriod]) -> Floats:
    """[n]: the weight of each unit's epoch.

    Raises:
        ValueError: A unit has an epoch that is not among the periods.
    """
    weights = {period.epoch: period.weight for period in periods}
    numbers, row = np.unique(epoch, return_inverse=True)
    if unknown := [number for number in numbers.tolist() if number not in weights]:
        raise ValueError(f"no period for the epochs {unknown}")
    return np.array([weights[number] for number in numbers.tolist()], np.float64)[row]
