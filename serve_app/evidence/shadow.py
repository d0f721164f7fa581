"""What the candidate says of the images that stable answers.

Not every image is copied: under load copies are shed, and a rule may take a sample. A minute in
which one in ten was copied would count too little. So each copied image is weighted by the
inverse of the share that was copied in its minute (Horvitz-Thompson, the share taken from the
counts), and rates divide by the sum of weights (Hajek). Minutes without a copy are not seen.

How sure a rate is depends on its weights, and on how alike the images of one unit are: design
effects, which multiply (Gabler, Haeder, Lahiri, Survey Methodology 1999).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.evidence.clusters import by_unit
from serve_app.evidence.confidence import (
    ALPHA,
    Interval,
    Rate,
    bonferroni,
    confidence_sequence,
    proportion_sequence,
    rate,
)
from serve_app.evidence.units import Flags, Floats, Ints, Labels, check_columns, totals

ESTABLISHED = 0.95  # of the images of the peak minute that were copied
MINUTES_PER_HOUR = 60


@dataclass(frozen=True, slots=True, eq=False)
class Copies:
    """Images that were copied: counts by minute, region and pair of labels; rows add up.

    Attributes:
        minute: int64 [n], minutes since 1970 UTC.
        region: str [n], ISO 3166-1 alpha-2; empty if it was not told.
        stable, candidate: str [n], the labels; stable's is empty if it failed.
        images: float64 [n], 0 or more.
    """

    minute: Ints
    region: Labels
    stable: Labels
    candidate: Labels
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
    """What became of all images that stable answered; rows of a minute, such as regions, add up.

    Attributes:
        minute: int64 [n], minutes since 1970 UTC.
        answered: float64 [n], images that stable answered; those outside of the sample as well.
        copied, shed, failed: float64 [n], of these.
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
        images: Copied ones that it is about, unweighted.
        rate: Its successes and trials are those of an equally certain unweighted sample.
    """

    images: float
    rate: Rate


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """How stable's labels become the candidate's.

    Attributes:
        stable, candidate: The labels of the rows and columns of `shares`.
        shares: [stable, candidate], weighted, of all images; they sum to 1, or to 0 if there is
            none.
    """

    stable: tuple[str, ...]
    candidate: tuple[str, ...]
    shares: Floats


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What the candidate has carried.

    Attributes:
        minutes: With at least one image answered.
        copies_per_minute: Mean of these.
        peak_minute: That with most images; None if there was none.
        peak_answered: Images in it.
        peak_copied: The share of them that was copied, 0 to 1.
    """

    minutes: int
    copies_per_minute: float
    peak_minute: int | None
    peak_answered: float
    peak_copied: float

    @property
    def is_established(self) -> bool:
        """Whether it has carried the load of the peak minute."""
        return self.peak_minute is not None and self.peak_copied >= ESTABLISHED

    @property
    def sentence(self) -> str:
        if self.peak_minute is None:
            return "Not established: there was no image to copy."
        verdict = "Established" if self.is_established else "Not established"
        return (
            f"{verdict}: in the peak minute, of {self.peak_answered:,.0f} images,"
            f" {100 * self.peak_copied:.1f} % were copied; {100 * ESTABLISHED:.0f} % are needed to"
            " say that the candidate carries the load."
        )


def agreement(
    copies: Copies, load: Load, shared: Collection[str], effect: float = 1.0, alpha: float = ALPHA
) -> WeightedRate:
    """P(same label | the candidate says a label that both know), always valid.

    A candidate that says a new label cannot agree, and is not asked here: see `new_label_rate`.
    Neither is a stable version that failed to answer.

    Args:
        shared: The labels that both versions know.
        effect: See `clusters.design_effect`; 1 if images are independent.
    """
    known = np.isin(copies.candidate, list(shared)) & (copies.stable != "")
    return _sample(copies, load).share(copies.stable == copies.candidate, known, effect, alpha)


def new_label_rate(
    copies: Copies, load: Load, shared: Collection[str], effect: float = 1.0, alpha: float = ALPHA
) -> WeightedRate:
    """P(the candidate says a new label). Descriptive: whether it is right is not asked."""
    new = ~np.isin(copies.candidate, list(shared))
    return _sample(copies, load).share(new, np.ones_like(new), effect, alpha)


def new_label_rate_by_region(
    copies: Copies,
    load: Load,
    shared: Collection[str],
    effects: Mapping[str, float],
    alpha: float = ALPHA,
) -> dict[str, WeightedRate]:
    """`new_label_rate` where; the intervals hold together (Bonferroni).

    Args:
        effects: Of each region; 1 where none is told.
    """
    regions, code = np.unique(copies.region, return_inverse=True)
    each = [effects.get(region, 1.0) for region in regions.tolist()]
    found = _new_by(copies, load, shared, code, each, alpha)
    return dict(zip(regions.tolist(), found, strict=True))


def new_label_rate_by_hour(
    copies: Copies, load: Load, shared: Collection[str], effect: float = 1.0, alpha: float = ALPHA
) -> dict[int, WeightedRate]:
    """`new_label_rate` when, by hours since 1970 UTC; the intervals hold together (Bonferroni).

    Args:
        effect: Of all hours together; that of one is smaller, for a unit has fewer images in it.
    """
    hours, code = np.unique(copies.minute // MINUTES_PER_HOUR, return_inverse=True)
    found = _new_by(copies, load, shared, code, [effect] * len(hours), alpha)
    return dict(zip(hours.tolist(), found, strict=True))


def hijack_rate(reviewed: int, hijacked: int, alpha: float = ALPHA) -> Rate:
    """P(the truth is a label that both know | the candidate says a new label).

    Args:
        reviewed: Images on which the candidate said a new label and whose truth was told, by a
            review or by feedback; drawn at random, or all of them. 0 leaves the rate not known.
        hijacked: Those whose truth is a label that both know.
    """
    return rate(hijacked, reviewed, alpha)


def transitions(copies: Copies, load: Load) -> Transitions:
    """The weighted matrix of what stable and the candidate say."""
    weights = copies.images * _sample(copies, load).weight
    stable, row = np.unique(copies.stable, return_inverse=True)
    candidate, column = np.unique(copies.candidate, return_inverse=True)
    size = len(stable) * len(candidate)
    sums = totals(row * len(candidate) + column, weights, size)
    shares = sums / sums.sum() if sums.any() else sums
    return Transitions(
        tuple(stable.tolist()),
        tuple(candidate.tolist()),
        shares.reshape(len(stable), len(candidate)),
    )


def latency_difference(
    unit: Ints, pairs: Floats, total: Floats, squares: Floats, alpha: float = ALPHA
) -> tuple[float | None, Interval]:
    """Mean of d, the candidate's latency less stable's on the same image, and where it lies.

    Always valid; the variance is linearised and clustered by unit, and units are the clock.

    Args:
        unit: int64 [n]; rows of one unit add up.
        pairs: [n], copied images.
        total, squares: [n], the sums of d, in ms, and of d squared.
    """
    every = float(pairs.sum())
    if every < 1:
        return None, Interval(-math.inf, math.inf)
    mean = float(total.sum()) / every
    named, (met, influence) = by_unit(unit, pairs, total - mean * pairs)
    alone = float((squares - 2 * mean * total + mean**2 * pairs)[~named].sum())
    spread = float(influence @ influence) + max(0.0, alone)
    units = int(np.count_nonzero(met)) + int(pairs[~named].sum())
    variance = spread / every**2 * units / max(units - 1, 1)
    return mean, confidence_sequence(mean, variance, units, alpha)


def load_report(load: Load) -> LoadReport:
    """What the candidate was asked at the busiest time, and how much of it it answered."""
    minutes, row = np.unique(load.minute[load.answered > 0], return_inverse=True)
    seen = load.answered > 0
    answered = totals(row, load.answered[seen], len(minutes))
    copied = totals(row, load.copied[seen], len(minutes))
    if not len(minutes):
        return LoadReport(0, 0.0, None, 0.0, 0.0)
    peak = int(answered.argmax())
    return LoadReport(
        minutes=len(minutes),
        copies_per_minute=float(copied.mean()),
        peak_minute=int(minutes[peak]),
        peak_answered=float(answered[peak]),
        peak_copied=float(copied[peak] / answered[peak]),
    )


def _new_by(
    copies: Copies,
    load: Load,
    shared: Collection[str],
    code: Ints,
    effects: Sequence[float],
    alpha: float,
) -> list[WeightedRate]:
    """Of each slice; `code` is the number of a row's slice, and of that slice's effect."""
    new = ~np.isin(copies.candidate, list(shared))
    sample = _sample(copies, load)
    each = bonferroni(alpha, len(effects)) if effects else alpha
    return [sample.share(new, code == n, effect, each) for n, effect in enumerate(effects)]


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """Copied images.

    Attributes:
        images: float64 [n].
        weight: float64 [n], of each of the images of a row: how many it stands for.
    """

    images: Floats
    weight: Floats

    def share(self, successes: Flags, trials: Flags, effect: float, alpha: float) -> WeightedRate:
        """A weighted share of some rows.

        The interval is that of a share of as many independent trials as tell as much (Korn,
        Graubard, Survey Methodology 1998): Kish's (sum of weights)^2 / sum of squared weights, by
        the effect of units.
        """
        weights = (self.images * self.weight)[trials]
        images = float(self.images[trials].sum())
        if not images:
            return WeightedRate(0.0, rate(0, 0, alpha))
        every = float(weights.sum())
        share = min(1.0, float(weights[successes[trials]].sum()) / every)
        effective = every**2 / float(weights @ self.weight[trials]) / effect
        found = proportion_sequence(share * effective, effective, alpha)
        return WeightedRate(images, Rate(share * effective, effective, found))


def _sample(copies: Copies, load: Load) -> _Sample:
    """Each copied image stands for as many as were answered in its minute for each copied."""
    minutes, row = np.unique(np.concatenate([load.minute, copies.minute]), return_inverse=True)
    of_load, of_copies = row[: len(load.minute)], row[len(load.minute) :]
    answered = totals(of_load, load.answered, len(minutes))
    copied = totals(of_copies, copies.images, len(minutes))
    if (copied > answered).any():
        worst = int(minutes[(copied - answered).argmax()])
        raise ValueError(f"minute {worst} has more copies than images that stable answered")
    weight = np.divide(answered, copied, out=np.zeros(len(minutes)), where=copied > 0)
    return _Sample(copies.images, weight[of_copies])


def _check_counts(**columns: Floats) -> None:
    for name, column in columns.items():
        if not (np.isfinite(column).all() and (column >= 0).all()):
            raise ValueError(f"{name} is negative or not finite in some row")
