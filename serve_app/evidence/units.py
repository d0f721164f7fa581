"""What a comparison needs to know of each unit: how much it met, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.str_]

LEAST_IN_STRATUM = 10  # rows of each arm, below which hours are merged


@dataclass(frozen=True, slots=True, eq=False)
class UnitSums:
    """Sums by unit, stratum and arm, as assigned; rows of the same three add up.

    A unit with a broken camera is one unit: whatever is compared takes its variance from units.

    Attributes:
        unit: int64 [n], who.
        stratum: int64 [n], a period within which the weight was constant; it grows with time.
        treated: bool [n], True for treatment.
        x: float64 [n], exposures, 0 or more. A unit that was assigned and met nothing has 0.
        y: float64 [n], the sum of the outcome over these exposures; 0 where x is 0.

    Raises:
        ValueError: The arrays do not fit together, or hold what no sums are.
    """

    unit: Ints
    stratum: Ints
    treated: Flags
    x: Floats
    y: Floats

    def __post_init__(self) -> None:
        check_columns(
            unit=self.unit, stratum=self.stratum, treated=self.treated, x=self.x, y=self.y
        )
        if self.treated.dtype != np.bool_:
            raise ValueError(f"treated is {self.treated.dtype}: expected bool")
        if not (np.isfinite(self.x).all() and np.isfinite(self.y).all()):
            raise ValueError("x or y is not finite in some rows")
        if (self.x < 0).any():
            raise ValueError(f"x is {self.x.min()} in some row: expected 0 or more exposures")
        if self.y[self.x == 0].any():
            raise ValueError("y is not 0 in some row without exposures")


def check_columns(**columns: npt.NDArray[np.generic]) -> None:
    """Reject columns that are no table.

    Raises:
        ValueError: One has more than one dimension, or another length than the first.
    """
    length = len(next(iter(columns.values())))
    for name, column in columns.items():
        if column.shape != (length,):
            raise ValueError(f"{name} has the shape {column.shape}: expected ({length},)")


def totals(code: npt.NDArray[np.intp], values: npt.NDArray[Any], length: int) -> Floats:
    """[length]: the sum of the values of each code, 0 .. length - 1."""
    return np.asarray(np.bincount(code, values, length), np.float64)


def unit_share(sums: UnitSums) -> UnitSums:
    """For the share of assigned units that had an event, such as a complaint: one row a unit.

    Each unit counts where it was assigned first, whatever it met later: x is 1, and y is 1 if it
    had any event. Of two arms in its first stratum, control counts as the first.

    Args:
        sums: y counts events, 0 or more. A unit without exposures was assigned all the same.

    Raises:
        ValueError: Some y is negative.
    """
    if (sums.y < 0).any():
        raise ValueError(f"y is {sums.y.min()} in some row: expected 0 or more events")
    units, row = np.unique(sums.unit, return_inverse=True)
    order = np.lexsort((sums.treated, sums.stratum, row))
    first = order[np.searchsorted(row[order], np.arange(len(units)))]
    events = totals(row, sums.y, len(units))
    return UnitSums(
        units,
        sums.stratum[first],
        sums.treated[first],
        np.ones(len(units)),
        (events > 0).astype(np.float64),
    )


def strata(
    epoch: Ints,
    hour: Ints,
    treated: Flags,
    least: int = LEAST_IN_STRATUM,
    count: Floats | None = None,
) -> Ints:
    """The stratum of each row: an hour of an epoch, or several hours that are thin.

    Hours of one epoch that follow one another are merged until each arm has `least` rows, for else
    the quiet ones, where an arm is empty, would be lost. Epochs are never merged: their weights
    differ. The counts alone decide, never an outcome.

    Args:
        epoch, hour: int64 [n], both growing with time.
        treated: bool [n].
        count: float64 [n], how many rows each one stands for; None for 1.

    Returns:
        int64 [n], growing with time.
    """
    check_columns(epoch=epoch, hour=hour, treated=treated)
    hours = np.unique(hour)
    code = epoch * max(1, len(hours)) + np.searchsorted(hours, hour)
    codes, row = np.unique(code, return_inverse=True)
    each = 1.0 if count is None else count
    counts = np.column_stack(
        [totals(row, arm * each, len(codes)) for arm in (~treated, treated)]  # [periods, 2]
    )
    of_epoch = codes // max(1, len(hours))
    opens = np.zeros(len(codes), np.int64)
    for number in np.unique(of_epoch):
        opens[_starts(np.flatnonzero(of_epoch == number), counts, least)] = 1
    return (np.cumsum(opens) - 1)[row]


def _starts(rows: npt.NDArray[np.intp], counts: Floats, least: int) -> list[int]:
    """The periods of one epoch with which strata begin."""
    starts = [int(rows[0])]
    gathered = np.zeros(2)
    for row in rows:
        if gathered.min() >= least:
            starts.append(int(row))
            gathered = np.zeros(2)
        gathered = gathered + counts[row]
    if gathered.min() < least and len(starts) > 1:
        starts.pop()
    return starts
