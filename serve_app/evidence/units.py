"""The input of a comparison: sums by unit, stratum and arm."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.str_]

MIN_ROWS_PER_ARM = 10  # of a stratum; hours with fewer are merged


class Rows:
    """Base of dataclasses whose fields are columns of equal length."""

    __slots__ = ()

    def select(self, rows: npt.NDArray[Any]) -> Self:
        """The rows at these indices, or the rows where a boolean mask is True."""
        columns = [field.name for field in fields(self)]  # type: ignore[arg-type]
        return type(self)(*(getattr(self, name)[rows] for name in columns))


@dataclass(frozen=True, slots=True, eq=False)
class UnitSums:
    """Sums by unit, stratum and assigned arm; rows of the same three are summed.

    The unit is the randomisation unit. Variances are clustered by it, so that a unit with very many
    events, such as a user with a broken camera, counts as one observation.

    Attributes:
        unit: int64 [n].
        stratum: int64 [n], a period with a constant weight; increases with time.
        treated: bool [n], True for treatment.
        x: float64 [n], exposures, 0 or more. 0 for a unit that was assigned and had no exposure.
        y: float64 [n], the sum of the outcome over these exposures; 0 where x is 0.

    Raises:
        ValueError: The arrays differ in length, or a value is out of range.
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
    """Check that all columns have one dimension and the length of the first.

    Raises:
        ValueError: A column has another shape.
    """
    length = len(next(iter(columns.values())))
    for name, column in columns.items():
        if column.shape != (length,):
            raise ValueError(f"{name} has the shape {column.shape}: expected ({length},)")


def sum_by_code(code: npt.NDArray[np.intp], values: npt.NDArray[Any], length: int) -> Floats:
    """[length]: the sum of the values of each code, 0 .. length - 1."""
    return np.asarray(np.bincount(code, values, length), np.float64)


def unit_share(sums: UnitSums) -> UnitSums:
    """Sums for the share of assigned units with at least one event, such as a complaint.

    One row a unit, in the stratum and arm of its first assignment, with x = 1 and y = 1 if it had
    an event in any row. If a unit has both arms in its first stratum, it counts in control.

    Args:
        sums: y counts events, 0 or more.

    Raises:
        ValueError: Some y is negative.
    """
    if (sums.y < 0).any():
        raise ValueError(f"y is {sums.y.min()} in some row: expected 0 or more events")
    units, row = np.unique(sums.unit, return_inverse=True)
    order = np.lexsort((sums.treated, sums.stratum, row))
    first = order[np.searchsorted(row[order], np.arange(len(units)))]
    events = sum_by_code(row, sums.y, len(units))
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
    min_rows: int = MIN_ROWS_PER_ARM,
    count: Floats | None = None,
) -> Ints:
    """The stratum of each row: one hour of an epoch, or several consecutive hours.

    Consecutive hours of an epoch are merged until each arm has `min_rows` rows; otherwise hours
    with an empty arm would be lost to the comparison. Epochs are not merged, because their weights
    differ. The merge depends on counts only, not on outcomes.

    Args:
        epoch, hour: int64 [n], both increase with time.
        treated: bool [n].
        count: float64 [n], how many rows each row stands for; None for 1.

    Returns:
        int64 [n], increases with time.
    """
    check_columns(epoch=epoch, hour=hour, treated=treated)
    hours = np.unique(hour)
    code = epoch * max(1, len(hours)) + np.searchsorted(hours, hour)
    codes, row = np.unique(code, return_inverse=True)
    rows_each = 1.0 if count is None else count
    counts = np.column_stack(
        [sum_by_code(row, arm * rows_each, len(codes)) for arm in (~treated, treated)]
    )  # [periods, 2]
    period_epoch = codes // max(1, len(hours))
    is_start = np.zeros(len(codes), np.int64)
    for number in np.unique(period_epoch):
        periods = np.flatnonzero(period_epoch == number)
        is_start[_stratum_starts(periods, counts, min_rows)] = 1
    return (np.cumsum(is_start) - 1)[row]


def _stratum_starts(periods: npt.NDArray[np.intp], counts: Floats, min_rows: int) -> list[int]:
    """The first period of each stratum of an epoch. Too few rows at its end join the last stratum.

    Args:
        periods: The indices of the epoch's periods in `counts`.
        counts: [periods, 2], rows of control and of treatment.
    """
    starts = [int(periods[0])]
    merged = np.zeros(2)
    for period in periods:
        if merged.min() >= min_rows:
            starts.append(int(period))
            merged = np.zeros(2)
        merged = merged + counts[period]
    if merged.min() < min_rows and len(starts) > 1:
        starts.pop()
    return starts
