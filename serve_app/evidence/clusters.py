"""Correlation of images within a unit: unit sizes and design effects.

In all columns of units, here and in `shadow`, unit 0 means "no unit is known". Each of its images
counts as a unit.
"""

from __future__ import annotations

import numpy as np

from serve_app.evidence.units import Flags, Floats, Ints, check_columns, sum_by_code

NO_UNIT = 0


def images_per_unit(unit: Ints, images: Floats) -> float:
    """The mean size of an image's unit, averaged over images: sum n_u^2 / sum n_u, at least 1.

    Args:
        unit: int64 [n]; rows of the same unit are summed.
        images: float64 [n], 0 or more.
    """
    has_unit, (sizes,) = sum_by_unit(unit, images)
    single = float(images[~has_unit].sum())
    total = float(sizes.sum()) + single
    return (float(sizes @ sizes) + single) / total if total else 1.0


def design_effect(unit: Ints, trials: Floats, successes: Floats) -> float:
    """The design effect of a share that is clustered by unit (Kish, Survey Sampling, 1965).

    The clustered variance of the share, divided by its variance if images were independent. With
    n_u images and y_u successes of unit u, N = sum n_u, s = `images_per_unit` and

        p    = (sum y_u + s) / (N + 2 s)
        deff = (sum (y_u - p n_u)^2 + s^2 ((1 - p)^2 + p^2)) / ((N + 2 s) p (1 - p))

    The terms in s are two pseudo-units of size s, one with successes only and one with failures
    only: the pseudo-trials of Agresti and Coull (Am. Stat. 1998), applied to units. Without them,
    the variance between units would be underestimated where nearly all images have one outcome. If
    all images have one outcome, deff is about s, as if each unit were one image. It decreases as
    outcomes differ within units.

    Args:
        unit: int64 [n]; rows of the same unit are summed.
        trials, successes: float64 [n], images; successes <= trials.

    Returns:
        At least 1.

    Raises:
        ValueError: The columns differ in length, or a row has more successes than trials.
    """
    check_columns(unit=unit, trials=trials, successes=successes)
    if (successes > trials).any():
        raise ValueError("there are more successes than trials in some row")
    size = images_per_unit(unit, trials)
    total = float(trials.sum()) + 2 * size
    share = (float(successes.sum()) + size) / total
    has_unit, (unit_trials, unit_successes) = sum_by_unit(unit, trials, successes)
    hits = float(successes[~has_unit].sum())
    misses = float(trials[~has_unit].sum()) - hits
    single = hits * (1 - share) ** 2 + misses * share**2
    pseudo = size**2 * ((1 - share) ** 2 + share**2)
    squares = float(((unit_successes - share * unit_trials) ** 2).sum()) + single + pseudo
    return max(1.0, squares / (total * share * (1 - share)))


def sum_by_unit(unit: Ints, *columns: Floats) -> tuple[Flags, list[Floats]]:
    """Sum columns by unit.

    Returns:
        bool [n], which rows have a unit; and of each column float64 [units], its sums over these.
    """
    has_unit = np.asarray(unit != NO_UNIT)
    units, row = np.unique(unit[has_unit], return_inverse=True)
    return has_unit, [sum_by_code(row, column[has_unit], len(units)) for column in columns]
