"""Figures of many runs as text, each with its Monte Carlo standard error."""

from __future__ import annotations

import math

import numpy as np

from serve_app.evidence.units import Flags, Floats


def format_share(is_true: Flags) -> str:
    """The share of runs, in percent.

    The standard error is that of (k + 1) / (n + 2), which is above 0 also where k is 0 or n.
    """
    runs = len(is_true)
    shrunk = (is_true.sum() + 1) / (runs + 2)
    error = math.sqrt(shrunk * (1 - shrunk) / runs)
    return f"{100 * is_true.mean():.1f} ± {100 * error:.1f} %"


def format_median(values: Floats, decimals: int = 0) -> str:
    """The median of runs; – if it is infinite.

    The standard error is half the distance of the two order statistics sqrt(n) / 2 ranks from it,
    and is left out if that is infinite.
    """
    error = 0.5 / math.sqrt(len(values))
    low, median, high = np.quantile(values, (0.5 - error, 0.5, 0.5 + error), method="higher")
    if math.isinf(median):
        return "–"
    text = f"{median:,.{decimals}f}"
    return f"{text} ± {(high - low) / 2:,.{decimals}f}" if math.isfinite(high) else text


def ever(is_found: Flags) -> Flags:
    """[runs]: whether any look finds it; is_found [runs, looks]."""
    return np.asarray(is_found.any(axis=1), np.bool_)


def first(is_found: Flags, units: Floats) -> Floats:
    """[runs]: the units at the first look that finds it; infinite if none does.

    Args:
        is_found, units: [runs, looks].
    """
    at = units[np.arange(len(units)), is_found.argmax(axis=1)]
    return np.asarray(np.where(ever(is_found), at, math.inf), np.float64)
