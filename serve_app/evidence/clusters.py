"""Images of one unit resemble one another: a hundred of one cat tell less than one of each of a
hundred.

Here and where this is used, unit 0 stands for nobody: images whose unit was not told stand alone.
"""

from __future__ import annotations

import numpy as np

from serve_app.evidence.units import Flags, Floats, Ints, check_columns, totals

NOBODY = 0


def images_per_unit(unit: Ints, images: Floats) -> float:
    """How many images an image's unit has, on average over images: 1 if each has one.

    Args:
        unit: int64 [n]; rows of one unit add up.
        images: [n], 0 or more.
    """
    named, (each,) = by_unit(unit, images)
    alone = float(images[~named].sum())
    every = float(each.sum()) + alone
    return (float(each @ each) + alone) / every if every else 1.0


def design_effect(unit: Ints, trials: Floats, successes: Floats) -> float:
    """How many times as many images it takes as if they were independent, at least 1.

    The variance of the share of successes, linearised and clustered by unit, by that of independent
    trials (Kish, Survey Sampling, 1965). Where hardly any image differs from the others, units
    have not shown yet how alike theirs are. So one unit of each sort is added, as large as the one
    of an image is on average: this is Agresti and Coull's pseudo-trial (Am. Stat. 1998), for
    units. Without any difference the effect is then the size of a unit, as if all of its images
    were one; it goes down as differences inside of units are seen.

    Args:
        unit: int64 [n]; rows of one unit add up.
        trials, successes: float64 [n], of images; no more successes than trials.
    """
    check_columns(unit=unit, trials=trials, successes=successes)
    if (successes > trials).any():
        raise ValueError("there are more successes than trials in some row")
    size = images_per_unit(unit, trials)
    every = float(trials.sum()) + 2 * size
    share = (float(successes.sum()) + size) / every
    named, (tried, succeeded) = by_unit(unit, trials, successes)
    hits = float(successes[~named].sum())
    misses = float(trials[~named].sum()) - hits
    alone = hits * (1 - share) ** 2 + misses * share**2
    added = size**2 * ((1 - share) ** 2 + share**2)
    spread = float(((succeeded - share * tried) ** 2).sum()) + alone + added
    return max(1.0, spread / (every * share * (1 - share)))


def by_unit(unit: Ints, *columns: Floats) -> tuple[Flags, list[Floats]]:
    """Which rows [n] are of somebody, and the sums of each column by unit, without nobody's."""
    named = np.asarray(unit != NOBODY)
    units, row = np.unique(unit[named], return_inverse=True)
    return named, [totals(row, column[named], len(units)) for column in columns]
