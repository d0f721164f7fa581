"""Estimates from a shadow: predictions of the candidate on images that stable answered.

See `copies` for the weights. Copies that failed have no prediction and are in no rate of labels;
their own rate, and the agreement if each of them were a disagreement, stand next to these.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.evidence.clusters import sum_by_unit
from serve_app.evidence.confidence import (
    ALPHA,
    Interval,
    Rate,
    bonferroni,
    confidence_sequence,
    rate,
)
from serve_app.evidence.copies import Copies, Load, WeightedRate, weight_copies
from serve_app.evidence.drift import Drift
from serve_app.evidence.label_mix import LabelCount, LabelMix
from serve_app.evidence.units import Flags, Floats, Ints, Texts, sum_by_code

MINUTES_PER_HOUR = 60
HOURS_PER_DAY = 24


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """The joint distribution of the labels of stable and of the candidate.

    Attributes:
        stable, candidate: The labels of the rows and of the columns of `shares`.
        shares: float64 [stable, candidate], weighted; the sum is 1, or 0 without images.
    """

    stable: tuple[str, ...]
    candidate: tuple[str, ...]
    shares: Floats


def estimate_failure_rate(
    copies: Copies, load: Load, design_effect: float = 1.0, alpha: float = ALPHA
) -> WeightedRate:
    """P(the copy fails), with an always valid interval.

    Args:
        design_effect: See `clusters.design_effect`; 1 if images are independent.
    """
    every = np.ones(len(copies.images), np.bool_)
    weighted = weight_copies(copies, load)
    return weighted.estimate_share(copies.candidate == "", every, design_effect, alpha)


def estimate_agreement(
    copies: Copies,
    load: Load,
    shared: Collection[str],
    design_effect: float = 1.0,
    alpha: float = ALPHA,
    *,
    with_failures: bool = False,
) -> WeightedRate:
    """P(same label | the candidate predicts a shared label), with an always valid interval.

    Images with a new label are excluded, because the candidate cannot agree there; see
    `estimate_new_label_rate`. Images on which stable failed are excluded as well.

    Args:
        shared: The labels that both versions have.
        with_failures: A failed copy is a disagreement; otherwise it is excluded.
    """
    is_compared = np.isin(copies.candidate, list(shared))
    if with_failures:
        is_compared |= copies.candidate == ""
    is_compared &= copies.stable != ""
    is_same = copies.stable == copies.candidate
    return weight_copies(copies, load).estimate_share(is_same, is_compared, design_effect, alpha)


def estimate_new_label_rate(
    copies: Copies,
    load: Load,
    shared: Collection[str],
    design_effect: float = 1.0,
    alpha: float = ALPHA,
) -> WeightedRate:
    """P(a new label | the candidate predicts), right or wrong; see `estimate_agreement`."""
    is_new, predicted = _new_labels(copies, shared)
    return weight_copies(copies, load).estimate_share(is_new, predicted, design_effect, alpha)


def estimate_new_label_rate_by_region(
    copies: Copies,
    load: Load,
    shared: Collection[str],
    design_effects: Mapping[str, float],
    alpha: float = ALPHA,
) -> dict[str, WeightedRate]:
    """`estimate_new_label_rate` by region, with simultaneous intervals (Bonferroni).

    Args:
        design_effects: By region; 1 for a region without one.
    """
    regions, code = np.unique(copies.region, return_inverse=True)
    effects = [design_effects.get(region, 1.0) for region in regions.tolist()]
    found = _estimate_by_slice(copies, load, shared, code, effects, alpha)
    return dict(zip(regions.tolist(), found, strict=True))


def estimate_new_label_rate_by_hour(
    copies: Copies,
    load: Load,
    shared: Collection[str],
    design_effect: float = 1.0,
    alpha: float = ALPHA,
) -> dict[int, WeightedRate]:
    """`estimate_new_label_rate` by hours since 1970 UTC, with simultaneous intervals (Bonferroni).

    Args:
        design_effect: Of all hours together. That of one hour is smaller, because a unit has fewer
            images in it; the intervals are conservative.
    """
    hours, code = np.unique(copies.minute // MINUTES_PER_HOUR, return_inverse=True)
    effects = [design_effect] * len(hours)
    found = _estimate_by_slice(copies, load, shared, code, effects, alpha)
    return dict(zip(hours.tolist(), found, strict=True))


def estimate_hijack_rate(reviewed: int, hijacked: int, alpha: float = ALPHA) -> Rate:
    """P(the true label is shared | the candidate predicts a new label).

    Args:
        reviewed: Images on which the candidate predicts a new label and whose true label is known
            from a review or from feedback: all such images, or a random sample. With 0, the
            rate is not known.
        hijacked: Those with a shared true label.
    """
    return rate(hijacked, reviewed, alpha)


def estimate_transitions(copies: Copies, load: Load) -> Transitions:
    """The weighted joint distribution of both labels, where the candidate predicts."""
    predicted = copies.candidate != ""
    weights = (copies.images * weight_copies(copies, load).weight)[predicted]
    stable, row = np.unique(copies.stable[predicted], return_inverse=True)
    candidate, column = np.unique(copies.candidate[predicted], return_inverse=True)
    size = len(stable) * len(candidate)
    sums = sum_by_code(row * len(candidate) + column, weights, size)
    shares = sums / sums.sum() if sums.any() else sums
    return Transitions(
        tuple(stable.tolist()),
        tuple(candidate.tolist()),
        shares.reshape(len(stable), len(candidate)),
    )


def estimate_latency_difference(
    unit: Ints, pairs: Floats, total: Floats, squares: Floats, alpha: float = ALPHA
) -> tuple[float | None, Interval]:
    """The mean of d, the candidate's latency minus stable's on the same image, in ms.

    With n_u pairs and the sum d_u of unit u, N = sum n_u and U units with a pair, the mean is
    m = sum d_u / N, with the variance linearised and clustered by unit

        variance = U / (U - 1) sum_u (d_u - m n_u)^2 / N^2

    The interval is a `confidence_sequence` on U units, always valid.

    Args:
        unit: int64 [n]; rows of the same unit are summed.
        pairs: float64 [n], images with both latencies.
        total, squares: float64 [n], the sums of d in ms and of d squared.

    Returns:
        The mean, None without a pair, and its interval.
    """
    count = float(pairs.sum())
    if count < 1:
        return None, Interval(-math.inf, math.inf)
    mean = float(total.sum()) / count
    has_unit, (unit_pairs, influence) = sum_by_unit(unit, pairs, total - mean * pairs)
    single = float((squares - 2 * mean * total + mean**2 * pairs)[~has_unit].sum())
    deviations = float(influence @ influence) + max(0.0, single)
    units = int(np.count_nonzero(unit_pairs)) + int(pairs[~has_unit].sum())
    variance = deviations / count**2 * units / max(units - 1, 1)
    return mean, confidence_sequence(mean, variance, units, alpha)


def _estimate_by_slice(
    copies: Copies,
    load: Load,
    shared: Collection[str],
    code: Ints,
    design_effects: Sequence[float],
    alpha: float,
) -> list[WeightedRate]:
    """The new label rate of each slice.

    Args:
        code: int64 [n], the slice of a row: an index into `design_effects`.
    """
    is_new, predicted = _new_labels(copies, shared)
    weighted = weight_copies(copies, load)
    slice_alpha = bonferroni(alpha, len(design_effects)) if design_effects else alpha
    return [
        weighted.estimate_share(is_new, predicted & (code == number), effect, slice_alpha)
        for number, effect in enumerate(design_effects)
    ]


def _new_labels(copies: Copies, shared: Collection[str]) -> tuple[Flags, Flags]:
    """bool [n], rows with a new label of the candidate; and rows with a label of it."""
    predicted = copies.candidate != ""
    return predicted & ~np.isin(copies.candidate, list(shared)), predicted


def estimate_drift(
    minute: Ints, label: Texts, images: Floats, images_per_unit: float = 1.0
) -> Drift | None:
    """The drift of labels from the first half of the images to the second, at like hours.

    Hours of the day that are in both halves are compared, and the first half is weighted to the
    images of the second by hour of the day: a day and a night that differ are no drift. The middle
    minute belongs to the second half.

    Args:
        minute: int64 [n].
        label: str [n].
        images: float64 [n], the images that each row stands for.
        images_per_unit: See `clusters.images_per_unit`.

    Returns:
        None without an hour of the day in both halves.
    """
    minutes, row = np.unique(minute, return_inverse=True)
    cumulated = sum_by_code(row, images, len(minutes)).cumsum()
    is_later = (cumulated > images.sum() / 2)[row]
    hour = minute // MINUTES_PER_HOUR % HOURS_PER_DAY
    names, code = np.unique(label, return_inverse=True)
    cells = (hour * 2 + is_later) * len(names) + code
    counts = sum_by_code(cells, images, HOURS_PER_DAY * 2 * len(names))
    mix = LabelMix.from_counts(
        LabelCount((0, at // 2), at % 2, name, int(count), 0.0)
        for at, by_name in enumerate(counts.reshape(-1, max(1, len(names))))
        for name, count in zip(names.tolist(), by_name.tolist(), strict=True)
        if count
    )
    return mix.drift(mix.labels, images_per_unit) if len(mix.counts) else None
