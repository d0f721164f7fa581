"""Columns of units, and their strata."""

from __future__ import annotations

from dataclasses import fields
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


def strata(
    split: Ints,
    hour: Ints,
    treated: Flags,
    min_rows: int = MIN_ROWS_PER_ARM,
    count: Floats | None = None,
) -> Ints:
    """The stratum of each row: one hour of a random split, or several consecutive hours.

    Consecutive hours of a split are merged until each arm has `min_rows` rows; otherwise hours with
    an empty arm would be lost to the comparison. Splits are not merged, because their weights
    differ. The merge depends on counts only, not on outcomes.

    Args:
        split: int64 [n], 0 or more: rows with the same number were split with the same weight.
        hour: int64 [n], or another period; increases with time.
        treated: bool [n].
        count: float64 [n], how many rows each row stands for; None for 1.

    Returns:
        int64 [n], increases with time within a split.
    """
    check_columns(split=split, hour=hour, treated=treated)
    hours = np.unique(hour)
    code = split * max(1, len(hours)) + np.searchsorted(hours, hour)
    codes, row = np.unique(code, return_inverse=True)
    rows_each = 1.0 if count is None else count
    counts = np.column_stack(
        [sum_by_code(row, arm * rows_each, len(codes)) for arm in (~treated, treated)]
    )  # [periods, 2]
    period_split = codes // max(1, len(hours))
    is_start = np.zeros(len(codes), np.int64)
    for number in np.unique(period_split):
        periods = np.flatnonzero(period_split == number)
        is_start[_stratum_starts(periods, counts, min_rows)] = 1
    return (np.cumsum(is_start) - 1)[row]


def _stratum_starts(periods: npt.NDArray[np.intp], counts: Floats, min_rows: int) -> list[int]:
    """The first period of each stratum of a split. Too few rows at its end join the last stratum.

    Args:
        periods: The indices of the split's periods in `counts`.
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
