"""Means of units that were each assigned once: a comparison from sums by stratum and arm alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from serve_app.evidence.comparison import ROUNDING, Comparison
from serve_app.evidence.units import Flags, Floats, Ints, check_columns, totals


@dataclass(frozen=True, eq=False)
class Groups:
    """Units that are alike, in a row.

    Attributes:
        stratum: int64 [n], see `units.strata`.
        treated: bool [n], True for treatment.
        count: float64 [n], how many units the row is, 0 or more.
    """

    stratum: Ints
    treated: Flags
    count: Floats

    def __post_init__(self) -> None:
        check_columns(stratum=self.stratum, treated=self.treated, count=self.count)
        if (self.count < 0).any():
            raise ValueError(f"count is {self.count.min()} in some row: expected 0 or more units")

    @property
    def units(self) -> Floats:
        """[strata, 2]: how many, of control and of treatment, where there are both."""
        units = self._sums(np.ones(len(self.count)))
        return units[np.all(units > 0, axis=1)]

    def only(self, rows: Flags) -> Groups:
        """Those of some rows."""
        return Groups(self.stratum[rows], self.treated[rows], self.count[rows])

    def compare(self, y: Flags | Floats) -> Comparison:
        """What `comparison.compare` finds where every unit has one row and one exposure.

        Then residuals need not be added up unit by unit: their squares about the mean of a cell are
        sum y^2 - (sum y)^2 / n, and no unit is in both arms.

        Args:
            y: [n], the outcome of each unit of the row.
        """
        values = np.asarray(y, np.float64)
        n = self._sums(np.ones(len(values)))
        sums, squares = self._sums(values), self._sums(values**2)
        full = np.all(n > 0, axis=1)
        units = n[full].sum(axis=0)
        ratio, variance, cautious = _means(n[full], sums[full], squares[full])
        return Comparison(
            control=float(ratio[0]),
            treatment=float(ratio[1]),
            variance=variance,
            cautious=cautious,
            units=int(units.sum()),
            units_control=int(units[0]),
            units_treatment=int(units[1]),
            strata=int(full.sum()),
            left_out=int((n.any(axis=1) & ~full).sum()),
            exposures_left_out=float(n[~full].sum()),
        )

    def _sums(self, values: Floats) -> Floats:
        """[strata, 2], by stratum and arm."""
        sums = totals(self._cell, values * self.count, 2 * self._strata)
        return sums.reshape(self._strata, 2)

    @cached_property
    def _cell(self) -> Ints:
        """[n]: twice the number of the stratum, and one more for treatment."""
        return 2 * np.unique(self.stratum, return_inverse=True)[1] + self.treated

    @cached_property
    def _strata(self) -> int:
        return int(self._cell.max(initial=-1)) // 2 + 1


def _means(n: Floats, sums: Floats, squares: Floats) -> tuple[Floats, float, float]:
    """The means [2] by arm, the variance of their difference, the cautious one; see `compare`.

    Args:
        n, sums, squares: [strata, 2], none of `n` 0.
    """
    both, units = n.sum(axis=1, keepdims=True), n.sum(axis=0)
    everybody = float(both.sum())
    if not everybody:
        return np.full(2, math.nan), math.inf, math.inf
    mean = np.asarray((both / n * sums).sum(axis=0) / everybody, np.float64)
    if units.min() < 2:
        return mean, math.inf, math.inf
    alone = n == 1
    spread = np.where(
        alone,
        (sums - mean) ** 2 * units / (units - 1),
        _about_mean(n, sums, squares) * n / np.maximum(n - 1, 1),
    )
    own = ((both / n) ** 2 * spread).sum(axis=0) / everybody**2
    scale = (both**2 / n).sum(axis=0) / everybody**2
    of_both = _about_mean(both[:, 0], sums.sum(axis=1), squares.sum(axis=1))
    together = float((of_both * both[:, 0] / (both[:, 0] - 1)).sum() / everybody)
    variance = float(own.sum())
    cautious = max(together, *(own / scale).tolist()) * float(scale.sum())
    noise = ROUNDING**2 * float(mean @ mean)
    return mean, variance if variance > noise else 0.0, cautious if cautious > noise else 0.0


def _about_mean(n: Floats, sums: Floats, squares: Floats) -> Floats:
    """The sum of squares about the mean; 0 where it is what rounding leaves."""
    found = squares - sums**2 / n
    return np.asarray(np.where(found > ROUNDING * squares, found, 0.0), np.float64)
