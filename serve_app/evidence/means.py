"""Compares means of units with one assignment each, from sums by stratum and arm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from serve_app.evidence.comparison import ROUNDING_TOLERANCE, Comparison
from serve_app.evidence.units import Flags, Floats, Ints, Rows, check_columns, sum_by_code


@dataclass(frozen=True, eq=False)
class UnitGroups(Rows):
    """Groups of units with the same stratum and arm; a row is a group.

    Attributes:
        stratum: int64 [n], see `units.strata`.
        treated: bool [n], True for treatment.
        count: float64 [n], units of the group, 0 or more.

    Raises:
        ValueError: The arrays differ in length, or a count is negative.
    """

    stratum: Ints
    treated: Flags
    count: Floats

    def __post_init__(self) -> None:
        check_columns(stratum=self.stratum, treated=self.treated, count=self.count)
        if (self.count < 0).any():
            raise ValueError(f"count is {self.count.min()} in some row: expected 0 or more units")

    @property
    def unit_counts(self) -> Floats:
        """[strata, 2]: units of control and of treatment, in the strata with both arms."""
        units = self._sum_by_cell(np.ones(len(self.count)))
        return units[np.all(units > 0, axis=1)]

    def compare(self, y: Flags | Floats) -> Comparison:
        """Compare means: equal to `comparison.compare` with one row and one exposure for each unit.

        No unit is in both arms, so the variance needs no sums by unit. The squares about the mean
        of a stratum and arm are sum y^2 - (sum y)^2 / n.

        Args:
            y: [n], the outcome of each unit of the group.
        """
        values = np.asarray(y, np.float64)
        n = self._sum_by_cell(np.ones(len(values)))
        sums, squares = self._sum_by_cell(values), self._sum_by_cell(values**2)
        has_both = np.all(n > 0, axis=1)
        units = n[has_both].sum(axis=0)
        mean, variance, conservative = _estimate_means(
            n[has_both], sums[has_both], squares[has_both]
        )
        return Comparison(
            control=float(mean[0]),
            treatment=float(mean[1]),
            variance=variance,
            conservative_variance=conservative,
            units=int(units.sum()),
            units_control=int(units[0]),
            units_treatment=int(units[1]),
            strata=int(has_both.sum()),
            strata_left_out=int((n.any(axis=1) & ~has_both).sum()),
            exposures_left_out=float(n[~has_both].sum()),
        )

    def _sum_by_cell(self, values: Floats) -> Floats:
        """[strata, 2]: sums over units, by stratum and arm."""
        sums = sum_by_code(self._cell, values * self.count, 2 * self._strata)
        return sums.reshape(self._strata, 2)

    @cached_property
    def _cell(self) -> Ints:
        """[n]: twice the number of the stratum, plus 1 for treatment."""
        return 2 * np.unique(self.stratum, return_inverse=True)[1] + self.treated

    @cached_property
    def _strata(self) -> int:
        return int(self._cell.max(initial=-1)) // 2 + 1


def _estimate_means(n: Floats, sums: Floats, squares: Floats) -> tuple[Floats, float, float]:
    """The formulas of `comparison.compare` with x = 1.

    Args:
        n, sums, squares: [strata, 2]; n is above 0.

    Returns:
        The means [2] by arm, the variance of their difference, its conservative variance.
    """
    both, units = n.sum(axis=1, keepdims=True), n.sum(axis=0)
    total = float(both.sum())
    if not total:
        return np.full(2, math.nan), math.inf, math.inf
    mean = np.asarray((both / n * sums).sum(axis=0) / total, np.float64)
    if units.min() < 2:
        return mean, math.inf, math.inf
    deviations = np.where(
        n == 1,
        (sums - mean) ** 2 * units / (units - 1),
        _squared_deviations(n, sums, squares) * n / np.maximum(n - 1, 1),
    )
    arm_variance = ((both / n) ** 2 * deviations).sum(axis=0) / total**2
    scale = (both**2 / n).sum(axis=0) / total**2
    pooled_deviations = _squared_deviations(both[:, 0], sums.sum(axis=1), squares.sum(axis=1))
    pooled = float((pooled_deviations * both[:, 0] / (both[:, 0] - 1)).sum() / total)
    variance = float(arm_variance.sum())
    conservative = max(pooled, *(arm_variance / scale).tolist()) * float(scale.sum())
    rounding = ROUNDING_TOLERANCE**2 * float(mean @ mean)
    return (
        mean,
        variance if variance > rounding else 0.0,
        conservative if conservative > rounding else 0.0,
    )


def _squared_deviations(n: Floats, sums: Floats, squares: Floats) -> Floats:
    """The sum of squares about the mean; 0 where it is only a rounding error."""
    deviations = squares - sums**2 / n
    is_real = deviations > ROUNDING_TOLERANCE * squares
    return np.asarray(np.where(is_real, deviations, 0.0), np.float64)
