"""Treatment beside control: a difference of ratios, and how much of it may be chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from serve_app.evidence.units import Flags, Floats, Ints, UnitSums, totals

ROUNDING = 1e-12  # a standard error below this share of the ratios is no spread


@dataclass(frozen=True, slots=True)
class Comparison:
    """A ratio in both arms.

    Attributes:
        control, treatment: Outcome by exposure; nan if there is nothing to compare.
        variance: Of their difference, linearised; infinite if an arm has less than two units, 0 if
            no unit differs from others of its arm.
        cautious: The variance if both arms spread as widely as the one that spreads more, or as
            all units together, whichever is most; 0 only if no unit differs from any other. A small
            arm that has seen no event yet shows no spread at all, and the variance would be certain
            of anything. What may be looked at repeatedly takes this one.
        units: Distinct units that were compared, in either arm.
        units_control, units_treatment: In each; a unit may have been in both.
        strata: How many were compared.
        left_out: Strata that were not, because an arm was empty.
        exposures_left_out: Theirs.
    """

    control: float
    treatment: float
    variance: float
    cautious: float
    units: int
    units_control: int
    units_treatment: int
    strata: int
    left_out: int
    exposures_left_out: float

    @property
    def difference(self) -> float:
        """Treatment less control."""
        return self.treatment - self.control

    @property
    def balanced_units(self) -> int:
        """How many units would tell as much if they were split evenly: 4 / (1/n_c + 1/n_t)."""
        both = self.units_control * self.units_treatment
        return 4 * both // (self.units_control + self.units_treatment) if both else 0

    @property
    def unit_variance(self) -> float:
        """What one unit adds to the uncertainty: cautious / (1/n_c + 1/n_t)."""
        return self.cautious * self.balanced_units / 4 if self.balanced_units else math.inf


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """One row per unit, stratum and arm; codes count from 0 without a gap."""

    unit: Ints
    stratum: Ints
    arm: Ints
    x: Floats
    y: Floats

    @property
    def counts(self) -> Floats:
        """[strata, 2]: the units of each stratum and arm."""
        return _by(self.stratum, self.arm, np.ones(len(self.unit)))

    def units(self, arm: int) -> int:
        """How many are in an arm."""
        return int(np.count_nonzero(np.bincount(self.unit[self.arm == arm])))

    def only(self, rows: Flags) -> _Cells:
        if rows.all():
            return self
        unit = np.unique(self.unit[rows], return_inverse=True)[1]
        stratum = np.unique(self.stratum[rows], return_inverse=True)[1]
        return _Cells(unit, stratum, self.arm[rows], self.x[rows], self.y[rows])


def compare(sums: UnitSums) -> Comparison:
    """Compare outcome by exposure within strata, so that both arms are seen at the same times.

    With N_s units in stratum s, n_as of them in arm a, the rows of an arm are weighted by
    N_s / n_as, which gives both arms the same mix of strata whatever the weight was there:

        R_a = sum_s (N_s / n_as) Y_as / sum_s (N_s / n_as) X_as

    This is the combined ratio estimator (Cochran, Sampling Techniques, 1977, section 6.11). The
    separate one, an average of Y_as / X_as, keeps the bias of the ratio of a small stratum, which
    differs between arms of different size and does not vanish as strata become many.

    Its variance is linearised (the delta method; Deng, Knoblich, Lu, KDD 2018), poststratified and
    clustered by unit over all strata and both arms: with e = y - R_a x, centred within stratum and
    arm and scaled by sqrt(n / (n - 1)), a unit's influence is the sum of its weighted e of
    treatment over X of treatment, less that of control; the variance is the sum of its squares.
    One unit alone in a stratum and arm has no mean to centre by: its e stays, and errs upwards.

    For `cautious` each arm's own part is divided by sum_s N_s^2 / n_as over X^2, which gives the
    variance of one unit. The larger of these two is taken for both arms, or that of all units about
    their common ratio, as in a score test, if it is larger still: a candidate that fails everybody
    beside a stable version that fails nobody has no spread in either arm.

    Strata in which an arm is empty are left out. In one stratum this is the difference of Y / X;
    with x = 1 in every row, of stratified means.
    """
    cells = _cells(sums)
    full = np.all(cells.counts > 0, axis=1)
    compared = cells.only(full[cells.stratum])
    units = np.array([compared.units(0), compared.units(1)])
    ratio, variance, cautious = _ratios(compared, units)
    return Comparison(
        control=float(ratio[0]),
        treatment=float(ratio[1]),
        variance=variance,
        cautious=cautious,
        units=int(compared.unit.max(initial=-1)) + 1,
        units_control=int(units[0]),
        units_treatment=int(units[1]),
        strata=int(full.sum()),
        left_out=int((~full).sum()),
        exposures_left_out=float(cells.x.sum() - compared.x.sum()),
    )


def _cells(sums: UnitSums) -> _Cells:
    unit = np.unique(sums.unit, return_inverse=True)[1]
    strata, stratum = np.unique(sums.stratum, return_inverse=True)
    cells, row = np.unique((unit * len(strata) + stratum) * 2 + sums.treated, return_inverse=True)
    return _Cells(
        unit=cells // (2 * len(strata)) if len(strata) else cells,
        stratum=cells // 2 % len(strata) if len(strata) else cells,
        arm=cells % 2,
        x=totals(row, sums.x, len(cells)),
        y=totals(row, sums.y, len(cells)),
    )


def _ratios(cells: _Cells, units: Ints) -> tuple[Floats, float, float]:
    """The ratios [2] by arm, the variance of their difference, the cautious one.

    Args:
        units: [2], by arm.
    """
    arm, counts = cells.arm, cells.counts
    both = counts.sum(axis=1, keepdims=True)
    weight = (both / counts)[cells.stratum, arm]
    exposures = totals(arm, weight * cells.x, 2)
    if not exposures.all():
        return np.full(2, math.nan), math.inf, math.inf
    ratio = totals(arm, weight * cells.y, 2) / exposures
    if units.min() < 2:
        return ratio, math.inf, math.inf
    influence = _influence(cells, weight * (cells.y - ratio[arm] * cells.x), counts, units)
    influence /= exposures[arm]
    of_unit = totals(cells.unit * 2 + arm, influence, 2 * len(cells.unit)).reshape(-1, 2)
    own, shared = (of_unit**2).sum(axis=0), float(of_unit.prod(axis=1).sum())
    scale = (both**2 / counts).sum(axis=0) / exposures**2
    variance = float(own.sum()) - 2 * shared
    together = _variance_together(cells, float(ratio @ exposures / exposures.sum()))
    cautious = max(together, *(own / scale).tolist()) * float(scale.sum()) - 2 * shared
    noise = ROUNDING**2 * float(ratio @ ratio)
    return ratio, variance if variance > noise else 0.0, cautious if cautious > noise else 0.0


def _influence(cells: _Cells, residual: Floats, counts: Floats, units: Ints) -> Floats:
    """Residuals, centred and scaled within stratum and arm."""
    alone = counts == 1
    mean = np.where(alone, 0, _by(cells.stratum, cells.arm, residual) / counts)
    scale = np.where(alone, units / (units - 1), counts / np.maximum(counts - 1, 1))
    centred = residual - mean[cells.stratum, cells.arm]
    return centred * np.sqrt(scale[cells.stratum, cells.arm])


def _variance_together(cells: _Cells, ratio: float) -> float:
    """Of one unit, whatever its arm, about a common ratio and within strata."""
    both = cells.counts.sum(axis=1)
    residual = cells.y - ratio * cells.x
    centred = residual - (totals(cells.stratum, residual, len(both)) / both)[cells.stratum]
    scaled = centred * np.sqrt(both / (both - 1))[cells.stratum]
    of_unit = totals(cells.unit, scaled, 0)
    return float(of_unit @ of_unit / both.sum())


def _by(stratum: Ints, arm: Ints, values: Floats) -> Floats:
    """[strata, 2]: sums by stratum and arm."""
    strata = int(stratum.max()) + 1 if len(stratum) else 0
    return totals(2 * stratum + arm, values, 2 * strata).reshape(strata, 2)
