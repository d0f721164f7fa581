"""Estimates from a shadow: predictions of the candidate on images that stable answered.

Not every image is copied: a rule may sample, and copies are shed under load. A minute with one copy
in ten images would count too little. Each copied image is therefore weighted by the inverse of the
share of its minute that was copied (Horvitz, Thompson, JASA 1952, with the inclusion probability
estimated from counts), and rates are divided by the sum of weights (Hajek estimator):

    rate = sum_i w_i y_i / sum_i w_i,  w_i = answered images / copied images in the minute of i

Assumes that copies are a random sample within a minute. Minutes without a copy have no weight.

The variance of a rate depends on the weights and on the correlation of images within units. Both
are design effects, and multiply (Gabler, Haeder, Lahiri, Survey Methodology 1999).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.clock import MINUTE_MS
from serve_app.evidence.clusters import sum_by_unit
from serve_app.evidence.confidence import (
    ALPHA,
    Interval,
    Rate,
    bonferroni,
    confidence_sequence,
    proportion_sequence,
    rate,
)
from serve_app.evidence.units import Flags, Floats, Ints, Texts, check_columns, sum_by_code

MIN_PEAK_COPIED = 0.95  # the copied share of the peak minute from which the load is established
MINUTES_PER_HOUR = 60


@dataclass(frozen=True, slots=True, eq=False)
class Copies:
    """Copied images: counts by minute, region and pair of labels; rows of the same are summed.

    Attributes:
        minute: int64 [n], minutes since 1970 UTC.
        region: str [n], ISO 3166-1 alpha-2; empty if unknown.
        stable, candidate: str [n], the predicted labels; empty for stable if it failed.
        images: float64 [n], 0 or more.

    Raises:
        ValueError: The columns differ in length, or a count is negative or not finite.
    """

    minute: Ints
    region: Texts
    stable: Texts
    candidate: Texts
    images: Floats

    def __post_init__(self) -> None:
        check_columns(
            minute=self.minute,
            region=self.region,
            stable=self.stable,
            candidate=self.candidate,
            images=self.images,
        )
        _check_counts(images=self.images)


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """All images that stable answered, by outcome of the copy; rows of the same minute are summed.

    Attributes:
        minute: int64 [n], minutes since 1970 UTC.
        answered: float64 [n], images that stable answered, in the sample or not.
        copied, shed, failed: float64 [n], of these.

    Raises:
        ValueError: The columns differ in length, or counts are negative, not finite or contradict.
    """

    minute: Ints
    answered: Floats
    copied: Floats
    shed: Floats
    failed: Floats

    def __post_init__(self) -> None:
        counts = {
            "answered": self.answered,
            "copied": self.copied,
            "shed": self.shed,
            "failed": self.failed,
        }
        check_columns(minute=self.minute, **counts)
        _check_counts(**counts)
        if (self.copied + self.shed + self.failed > self.answered).any():
            raise ValueError("more images were copied, shed or failed than answered in some row")


@dataclass(frozen=True, slots=True)
class WeightedRate:
    """A weighted share of copied images.

    Attributes:
        images: The copied images in the denominator, unweighted.
        rate: Successes and trials are those of an unweighted sample with the same variance.
    """

    images: float
    rate: Rate


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


@dataclass(frozen=True, slots=True)
class LoadSummary:
    """The load that the candidate carried.

    Attributes:
        copies_per_minute: Mean over the minutes with at least one answered image.
        minutes: Their number.
        peak_at_ms: Start of the minute with most answered images; None without images.
        peak_images: The images that stable answered in it.
        peak_copied_share: The copied share of these, 0 to 1.
        established: Whether the candidate carried the load of that minute.
        sentence: `established` in words.
    """

    copies_per_minute: float
    minutes: int
    peak_at_ms: int | None
    peak_images: float
    peak_copied_share: float
    established: bool
    sentence: str


def estimate_agreement(
    copies: Copies,
    load: Load,
    shared: Collection[str],
    design_effect: float = 1.0,
    alpha: float = ALPHA,
) -> WeightedRate:
    """P(same label | the candidate predicts a shared label), with an always valid interval.

    Images with a new label are excluded, because the candidate cannot agree there; see
    `estimate_new_label_rate`. Images on which stable failed are excluded as well.

    Args:
        shared: The labels that both versions have.
        design_effect: See `clusters.design_effect`; 1 if images are independent.
    """
    is_shared = np.isin(copies.candidate, list(shared)) & (copies.stable != "")
    is_same = copies.stable == copies.candidate
    return _weight_copies(copies, load).estimate_share(is_same, is_shared, design_effect, alpha)


def estimate_new_label_rate(
    copies: Copies,
    load: Load,
    shared: Collection[str],
    design_effect: float = 1.0,
    alpha: float = ALPHA,
) -> WeightedRate:
    """P(the candidate predicts a new label), right or wrong; see `estimate_agreement`."""
    is_new = ~np.isin(copies.candidate, list(shared))
    every = np.ones_like(is_new)
    return _weight_copies(copies, load).estimate_share(is_new, every, design_effect, alpha)


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
    """The weighted joint distribution of the labels of stable and of the candidate."""
    weights = copies.images * _weight_copies(copies, load).weight
    stable, row = np.unique(copies.stable, return_inverse=True)
    candidate, column = np.unique(copies.candidate, return_inverse=True)
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


def summarize_load(load: Load) -> LoadSummary:
    """The mean load, and that of the peak minute."""
    has_images = load.answered > 0
    minutes, row = np.unique(load.minute[has_images], return_inverse=True)
    answered = sum_by_code(row, load.answered[has_images], len(minutes))
    copied = sum_by_code(row, load.copied[has_images], len(minutes))
    if not len(minutes):
        sentence = "Not established: there was no image to copy."
        return LoadSummary(0.0, 0, None, 0.0, 0.0, established=False, sentence=sentence)
    peak = int(answered.argmax())
    images, share = float(answered[peak]), float(copied[peak] / answered[peak])
    established = share >= MIN_PEAK_COPIED
    return LoadSummary(
        copies_per_minute=float(copied.mean()),
        minutes=len(minutes),
        peak_at_ms=int(minutes[peak]) * MINUTE_MS,
        peak_images=images,
        peak_copied_share=share,
        established=established,
        sentence=(
            f"{'Established' if established else 'Not established'}: in the peak minute, of"
            f" {images:,.0f} images, {100 * share:.1f} % were copied; {100 * MIN_PEAK_COPIED:.0f} %"
            " are needed to establish that the candidate carries the load."
        ),
    )


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
    is_new = ~np.isin(copies.candidate, list(shared))
    weighted = _weight_copies(copies, load)
    slice_alpha = bonferroni(alpha, len(design_effects)) if design_effects else alpha
    return [
        weighted.estimate_share(is_new, code == number, effect, slice_alpha)
        for number, effect in enumerate(design_effects)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _WeightedCopies:
    """Copied images with weights.

    Attributes:
        images: float64 [n].
        weight: float64 [n], of each image of a row.
    """

    images: Floats
    weight: Floats

    def estimate_share(
        self, successes: Flags, trials: Flags, design_effect: float, alpha: float
    ) -> WeightedRate:
        """The weighted share of successes in some rows.

        The interval is that of an unweighted share with the effective sample size (Korn, Graubard,
        Survey Methodology 1998), which is Kish's for weights, divided by the design effect of
        units:

            n = (sum w_i)^2 / sum w_i^2 / design_effect
        """
        weights = (self.images * self.weight)[trials]
        images = float(self.images[trials].sum())
        if not images:
            return WeightedRate(0.0, rate(0, 0, alpha))
        total = float(weights.sum())
        share = min(1.0, float(weights[successes[trials]].sum()) / total)
        effective = total**2 / float(weights @ self.weight[trials]) / design_effect
        found = proportion_sequence(share * effective, effective, alpha)
        return WeightedRate(images, Rate(share * effective, effective, found))


def _weight_copies(copies: Copies, load: Load) -> _WeightedCopies:
    """Weight each copied image by answered / copied images of its minute.

    Raises:
        ValueError: A minute has more copies than answered images.
    """
    minutes, row = np.unique(np.concatenate([load.minute, copies.minute]), return_inverse=True)
    load_row, copies_row = row[: len(load.minute)], row[len(load.minute) :]
    answered = sum_by_code(load_row, load.answered, len(minutes))
    copied = sum_by_code(copies_row, copies.images, len(minutes))
    if (copied > answered).any():
        worst = int(minutes[(copied - answered).argmax()])
        raise ValueError(f"minute {worst} has more copies than images that stable answered")
    weight = np.divide(answered, copied, out=np.zeros(len(minutes)), where=copied > 0)
    return _WeightedCopies(copies.images, weight[copies_row])


def _check_counts(**columns: Floats) -> None:
    for name, column in columns.items():
        if not (np.isfinite(column).all() and (column >= 0).all()):
            raise ValueError(f"{name} is negative or not finite in some row")
