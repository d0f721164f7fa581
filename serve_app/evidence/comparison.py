"""Compares the mean outcome of units in treatment with that in control."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from serve_app.evidence.units import Flags, Floats, Ints, Rows, check_columns, sum_by_code

# A standard error below this share of the means is a rounding error, and counts as 0.
ROUNDING_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class BoundedOutcome:
    """What is known of an outcome with a range, such as a share; pairs are control, treatment.

    Attributes:
        low, high: The range of the outcome of a unit.
        spread: The variance of the outcomes about the mean of the arm, weighted by stratum and
            divided by n; p (1 - p) for a share.
        effective_units: The units of an unstratified arm with the same variance of its mean,
            1 / sum_s (N_s^2 / (N^2 n_as)).
    """

    low: float
    high: float
    spread: tuple[float, float]
    effective_units: tuple[float, float]

    @property
    def width(self) -> float:
        """The largest possible difference."""
        return self.high - self.low


@dataclass(frozen=True, slots=True)
class Comparison:
    """The mean outcome of units in both arms.

    Attributes:
        control, treatment: Poststratified means. If no stratum has both arms, the means of all
            units; nan for an arm without any.
        variance: Of the difference; infinite if an arm has less than two units, 0 if all units of
            each arm have the same outcome.
        conservative_variance: An upper estimate of `variance`, for intervals that are always
            valid: both arms have the unit variance of the arm with the larger one, or that of all
            units about their common mean, whichever is largest. 0 only if all units have the same
            outcome. `confidence.interval_variance` does not use it for a bounded outcome.
        units_control, units_treatment: Compared units of each arm.
        strata: Compared strata.
        strata_left_out: Strata that were not compared, because an arm was empty.
        units_left_out: The units of these strata.
        bounded: None if the outcome has no range.
    """

    control: float
    treatment: float
    variance: float
    conservative_variance: float
    units_control: int
    units_treatment: int
    strata: int
    strata_left_out: int
    units_left_out: int
    bounded: BoundedOutcome | None = None

    @property
    def units(self) -> int:
        """Compared units of both arms."""
        return self.units_control + self.units_treatment

    @property
    def difference(self) -> float:
        """Treatment minus control."""
        return self.treatment - self.control

    @property
    def balanced_units(self) -> int:
        """The size of an evenly split sample with the same variance: 4 / (1/n_c + 1/n_t)."""
        return 4 * self.units_control * self.units_treatment // self.units if self.units else 0

    @property
    def unit_variance(self) -> float:
        """The conservative variance of one unit: conservative_variance / (1/n_c + 1/n_t)."""
        balanced = self.balanced_units
        return self.conservative_variance * balanced / 4 if balanced else math.inf


@dataclass(frozen=True, eq=False)
class UnitGroups(Rows):
    """Groups of units with the same stratum and arm; a row is a group.

    A unit counts once, in the arm of its first assignment.

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

    def compare(self, y: Flags | Floats, bounds: tuple[float, float] | None = None) -> Comparison:
        """Compare poststratified means (Cochran, Sampling Techniques, 1977, section 5A.9).

        With N_s units in stratum s, N in all, n_as of them in arm a, and the sample variance v_as
        of their outcomes:

            mean_a   = sum_s (N_s / N) mean_as
            variance = sum_a sum_s (N_s / N)^2 v_as / n_as

        Both arms then have the same mix of strata, whatever the weight of the split was. Where n_as
        is 1 there is no v_as; the square about mean_a takes its place, which overestimates it.

        For `conservative_variance`, the part of each arm in this sum is divided by

            sum_s (N_s / N)^2 / n_as

        which gives the variance of one unit. The largest is used for both arms: that of control,
        that of treatment, or that of all units about their common mean within strata. The last one
        is needed where both arms have no variance and differ.

        Strata with an empty arm are left out. Assumes that units are independent, and that
        assignment within a stratum is random.

        Args:
            y: [n], the outcome of each unit of the group.
            bounds: The range of outcomes: (0, 1) for a share; None if there is none.

        Raises:
            ValueError: An outcome is out of range.
        """
        values = np.asarray(y, np.float64)
        if bounds is not None and len(values):
            _check_range(values, bounds)
        n = self._sum_by_cell(np.ones(len(values)))
        has_both = np.all(n > 0, axis=1)
        left_out = int(n[~has_both].sum())
        strata_left_out = int((n.any(axis=1) & ~has_both).sum())
        sums, squares = self._sum_by_cell(values), self._sum_by_cell(values**2)
        if not has_both.any():
            control, treatment = _pooled_means(n, sums)
            infinite = math.inf
            return Comparison(
                control, treatment, infinite, infinite, 0, 0, 0, strata_left_out, left_out
            )
        n, sums, squares = n[has_both], sums[has_both], squares[has_both]
        mean, variance, conservative = _estimate_means(n, sums, squares)
        units = n.sum(axis=0)
        return Comparison(
            control=float(mean[0]),
            treatment=float(mean[1]),
            variance=variance,
            conservative_variance=conservative,
            units_control=int(units[0]),
            units_treatment=int(units[1]),
            strata=int(has_both.sum()),
            strata_left_out=strata_left_out,
            units_left_out=left_out,
            bounded=None if bounds is None else _bounded(bounds, n, mean, squares),
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


def _check_range(values: Floats, bounds: tuple[float, float]) -> None:
    low, high = bounds
    if not (low <= values.min() and values.max() <= high):
        raise ValueError(f"outcomes are {values.min()} to {values.max()}: expected {low} to {high}")


def _pooled_means(n: Floats, sums: Floats) -> tuple[float, float]:
    """The mean of each arm over all strata; nan for an arm without units."""
    control, treatment = (
        float(total / count) if count else math.nan
        for total, count in zip(sums.sum(axis=0), n.sum(axis=0), strict=True)
    )
    return control, treatment


def _estimate_means(n: Floats, sums: Floats, squares: Floats) -> tuple[Floats, float, float]:
    """The formulas of `UnitGroups.compare`.

    Args:
        n, sums, squares: [strata, 2]; n is above 0.

    Returns:
        The means [2] by arm, the variance of their difference, its conservative variance.
    """
    both, units = n.sum(axis=1, keepdims=True), n.sum(axis=0)
    total = float(both.sum())
    mean = np.asarray((both / n * sums).sum(axis=0) / total, np.float64)
    if units.min() < 2:
        return mean, math.inf, math.inf
    deviations = np.where(
        n == 1,
        (sums - mean) ** 2 * units / (units - 1),
        _squared_deviations(n, sums, squares) * n / np.maximum(n - 1, 1),
    )
    arm_variance = ((both / n) ** 2 * deviations).sum(axis=0) / total**2
    scale = _scale(n)
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


def _scale(n: Floats) -> Floats:
    """[2]: the variance of each arm's mean if every unit has the variance 1."""
    both = n.sum(axis=1, keepdims=True)
    return np.asarray((both**2 / n).sum(axis=0) / both.sum() ** 2, np.float64)


def _bounded(
    bounds: tuple[float, float], n: Floats, mean: Floats, squares: Floats
) -> BoundedOutcome:
    both = n.sum(axis=1, keepdims=True)
    mean_square = (both / n * squares).sum(axis=0) / both.sum()
    spread = np.maximum(mean_square - mean**2, 0).tolist()
    effective = (1 / _scale(n)).tolist()
    return BoundedOutcome(*bounds, (spread[0], spread[1]), (effective[0], effective[1]))


def _squared_deviations(n: Floats, sums: Floats, squares: Floats) -> Floats:
    """The sum of squares about the mean; 0 where it is only a rounding error."""
    deviations = squares - sums**2 / n
    is_real = deviations > ROUNDING_TOLERANCE * squares
    return np.asarray(np.where(is_real, deviations, 0.0), np.float64)
