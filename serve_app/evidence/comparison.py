"""Compares a ratio in treatment with that in control: the difference and its variance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from serve_app.evidence.units import Flags, Floats, Ints, UnitSums, sum_by_code

# A standard error below this share of the ratios is a rounding error, and counts as 0.
ROUNDING_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Comparison:
    """A ratio in both arms.

    Attributes:
        control, treatment: Outcome per exposure; nan if no stratum has both arms.
        variance: Of the difference, linearised; infinite if an arm has less than two units, 0 if
            all units of each arm have the same outcome.
        conservative_variance: An upper estimate of `variance`, for intervals that are always
            valid: both arms have the unit variance of the arm with the larger one, or that of all
            units about their common ratio, whichever is largest. A small arm without an event has
            a sample variance of 0, and `variance` would then be too small. 0 only if all units have
            the same outcome.
        units: Distinct compared units, in either arm.
        units_control, units_treatment: Compared units of each arm; a unit may be in both.
        strata: Compared strata.
        strata_left_out: Strata that were not compared, because an arm was empty.
        exposures_left_out: The exposures of these strata.
    """

    control: float
    treatment: float
    variance: float
    conservative_variance: float
    units: int
    units_control: int
    units_treatment: int
    strata: int
    strata_left_out: int
    exposures_left_out: float

    @property
    def difference(self) -> float:
        """Treatment minus control."""
        return self.treatment - self.control

    @property
    def balanced_units(self) -> int:
        """The size of an evenly split sample with the same variance: 4 / (1/n_c + 1/n_t)."""
        product = self.units_control * self.units_treatment
        return 4 * product // (self.units_control + self.units_treatment) if product else 0

    @property
    def unit_variance(self) -> float:
        """The conservative variance of one unit: conservative_variance / (1/n_c + 1/n_t)."""
        balanced = self.balanced_units
        return self.conservative_variance * balanced / 4 if balanced else math.inf


@dataclass(frozen=True, slots=True, eq=False)
class _UnitRows:
    """One row per unit, stratum and arm; units and strata are numbered from 0 without gaps."""

    unit: Ints
    stratum: Ints
    arm: Ints
    x: Floats
    y: Floats

    @property
    def unit_counts(self) -> Floats:
        """[strata, 2]: the units of each stratum and arm."""
        return _sum_by_cell(self.stratum, self.arm, np.ones(len(self.unit)))

    def count_units(self, arm: int) -> int:
        """The distinct units of an arm."""
        return int(np.count_nonzero(np.bincount(self.unit[self.arm == arm])))

    def select(self, rows: Flags) -> _UnitRows:
        """Some of the rows, with units and strata numbered again."""
        if rows.all():
            return self
        unit = np.unique(self.unit[rows], return_inverse=True)[1]
        stratum = np.unique(self.stratum[rows], return_inverse=True)[1]
        return _UnitRows(unit, stratum, self.arm[rows], self.x[rows], self.y[rows])


def compare(sums: UnitSums) -> Comparison:
    """Compare outcome per exposure between arms, poststratified by time.

    With N_s units in stratum s and n_as of them in arm a, the rows of an arm are weighted by
    N_s / n_as. Both arms then have the same mix of strata, whatever the weight of the split was:

        R_a = sum_s (N_s / n_as) Y_as / sum_s (N_s / n_as) X_as

    This is the combined ratio estimator (Cochran, Sampling Techniques, 1977, section 6.11). The
    separate ratio estimator, a mean of Y_as / X_as, has in each stratum the bias of a ratio of few
    units. This bias differs between arms of different size, and more strata do not remove it.

    The variance is linearised by the delta method (Deng, Knoblich, Lu, KDD 2018) and clustered by
    unit over all strata and both arms. Let e = y - R_a x be a row's residual, centred within its
    stratum and arm and scaled by sqrt(n_as / (n_as - 1)), and X_a = sum_s (N_s / n_as) X_as:

        influence of unit u = sum of (N_s / n_as) e / X_a over its rows in treatment
                              - the same sum over its rows in control
        variance            = sum_u influence_u^2

    Where n_as is 1 there is no mean to centre by: e is kept, which overestimates the variance.

    For `conservative_variance`, the part of each arm in this sum is divided by

        sum_s (N_s^2 / n_as) / X_a^2

    which gives the variance of one unit. The largest is used for both arms: that of control, that
    of treatment, or that of all units about their common ratio, as in a score test. The last one is
    needed where both arms have no variance and differ, as when the candidate always fails and
    stable never does.

    Strata with an empty arm are left out. With one stratum, this is the difference of Y / X; with
    x = 1 in every row, it is the difference of poststratified means.

    Assumes that units are independent, and that assignment within a stratum is random.
    """
    rows = _group(sums)
    has_both = np.all(rows.unit_counts > 0, axis=1)
    compared = rows.select(has_both[rows.stratum])
    units = np.array([compared.count_units(0), compared.count_units(1)])
    ratio, variance, conservative = _estimate_ratios(compared, units)
    return Comparison(
        control=float(ratio[0]),
        treatment=float(ratio[1]),
        variance=variance,
        conservative_variance=conservative,
        units=int(compared.unit.max(initial=-1)) + 1,
        units_control=int(units[0]),
        units_treatment=int(units[1]),
        strata=int(has_both.sum()),
        strata_left_out=int((~has_both).sum()),
        exposures_left_out=float(rows.x.sum() - compared.x.sum()),
    )


def _group(sums: UnitSums) -> _UnitRows:
    """Sum the rows of the same unit, stratum and arm."""
    unit = np.unique(sums.unit, return_inverse=True)[1]
    strata, stratum = np.unique(sums.stratum, return_inverse=True)
    keys, row = np.unique((unit * len(strata) + stratum) * 2 + sums.treated, return_inverse=True)
    return _UnitRows(
        unit=keys // (2 * len(strata)) if len(strata) else keys,
        stratum=keys // 2 % len(strata) if len(strata) else keys,
        arm=keys % 2,
        x=sum_by_code(row, sums.x, len(keys)),
        y=sum_by_code(row, sums.y, len(keys)),
    )


def _estimate_ratios(rows: _UnitRows, units: Ints) -> tuple[Floats, float, float]:
    """The formulas of `compare`.

    Args:
        units: [2], by arm.

    Returns:
        The ratios [2] by arm, the variance of their difference, its conservative variance.
    """
    arm, counts = rows.arm, rows.unit_counts
    both = counts.sum(axis=1, keepdims=True)
    weight = (both / counts)[rows.stratum, arm]
    exposures = sum_by_code(arm, weight * rows.x, 2)
    if not exposures.all():
        return np.full(2, math.nan), math.inf, math.inf
    ratio = sum_by_code(arm, weight * rows.y, 2) / exposures
    if units.min() < 2:
        return ratio, math.inf, math.inf
    influence = _center(rows, weight * (rows.y - ratio[arm] * rows.x), counts, units)
    influence /= exposures[arm]
    by_unit = sum_by_code(rows.unit * 2 + arm, influence, 2 * len(rows.unit)).reshape(-1, 2)
    arm_variance, covariance = (by_unit**2).sum(axis=0), float(by_unit.prod(axis=1).sum())
    scale = (both**2 / counts).sum(axis=0) / exposures**2
    variance = float(arm_variance.sum()) - 2 * covariance
    pooled = _pooled_unit_variance(rows, float(ratio @ exposures / exposures.sum()))
    unit_variance = max(pooled, *(arm_variance / scale).tolist())
    conservative = unit_variance * float(scale.sum()) - 2 * covariance
    rounding = ROUNDING_TOLERANCE**2 * float(ratio @ ratio)
    return (
        ratio,
        variance if variance > rounding else 0.0,
        conservative if conservative > rounding else 0.0,
    )


def _center(rows: _UnitRows, residual: Floats, counts: Floats, units: Ints) -> Floats:
    """Residuals, centred within stratum and arm and scaled by sqrt(n / (n - 1))."""
    is_single = counts == 1
    mean = np.where(is_single, 0, _sum_by_cell(rows.stratum, rows.arm, residual) / counts)
    scale = np.where(is_single, units / (units - 1), counts / np.maximum(counts - 1, 1))
    centred = residual - mean[rows.stratum, rows.arm]
    return centred * np.sqrt(scale[rows.stratum, rows.arm])


def _pooled_unit_variance(rows: _UnitRows, ratio: float) -> float:
    """The variance of one unit, both arms pooled, about a common ratio and within strata."""
    both = rows.unit_counts.sum(axis=1)
    residual = rows.y - ratio * rows.x
    mean = sum_by_code(rows.stratum, residual, len(both)) / both
    scaled = (residual - mean[rows.stratum]) * np.sqrt(both / (both - 1))[rows.stratum]
    by_unit = sum_by_code(rows.unit, scaled, 0)
    return float(by_unit @ by_unit / both.sum())


def _sum_by_cell(stratum: Ints, arm: Ints, values: Floats) -> Floats:
    """[strata, 2]: sums by stratum and arm."""
    strata = int(stratum.max()) + 1 if len(stratum) else 0
    return sum_by_code(2 * stratum + arm, values, 2 * strata).reshape(strata, 2)
