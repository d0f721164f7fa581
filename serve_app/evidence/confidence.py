"""Confidence sequences and other intervals.

An interval that is always valid contains the truth at all looks at once: the probability that it
ever misses the truth is at most alpha. A stopping rule that depends on the data, such as "stop when
the verdict is clear", keeps this guarantee. An interval with a fixed horizon holds for one look at
a time that was chosen in advance; `Interval.always_valid` is False for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.special import betaln, xlog1py, xlogy
from scipy.stats import norm

from serve_app.evidence.comparison import BoundedOutcome, Comparison
from serve_app.evidence.units import Flags, Floats

ALPHA = 0.05
TUNED_FOR = 500  # units at which a confidence sequence is narrowest, in standard errors
_BETA_PRIOR = 1.0  # Beta(1, 1), the uniform distribution of shares
_SMALLEST_SHARE = 1e-300  # above 0, for the root search


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval of confidence 1 - alpha; an infinite end is no bound.

    Attributes:
        always_valid: False for an interval with a fixed horizon.
    """

    low: float
    high: float
    always_valid: bool = True

    @property
    def is_known(self) -> bool:
        """Whether at least one end is finite."""
        return math.isfinite(self.low) or math.isfinite(self.high)

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __sub__(self, other: Interval) -> Interval:
        """The interval of the difference, if both intervals hold."""
        always_valid = self.always_valid and other.always_valid
        return Interval(self.low - other.high, self.high - other.low, always_valid)


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of independent trials. Counts of weighted trials need not be integers.

    Attributes:
        estimate: 0 to 1; None without a trial.
    """

    successes: float
    trials: float
    interval: Interval

    @property
    def estimate(self) -> float | None:
        return self.successes / self.trials if self.trials else None


def critical_value(units: int, alpha: float = ALPHA) -> float:
    """The half-width of an asymptotic confidence sequence, in standard errors.

    Theorem 2.2 of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (arXiv 2103.06476). With n units
    and n* = TUNED_FOR:

        rho^2 = (-2 ln(alpha) + ln(1 - 2 ln(alpha))) / n*
        value = sqrt(2 (n rho^2 + 1) / (n rho^2) ln(sqrt(n rho^2 + 1) / alpha))

    This rho gives about the smallest half-width at n* units. For alpha 0.05 the value is at least
    3.03; that of a fixed horizon is 1.96. The theorem is asymptotic; below some hundred units the
    value is far larger than necessary, which makes up for that.

    Raises:
        ValueError: units is not above 0, or alpha is not in (0, 1).
    """
    _check_alpha(alpha)
    if units <= 0:
        raise ValueError(f"units is {units}: expected above 0")
    rho2 = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / TUNED_FOR
    time = units * rho2
    return math.sqrt(2 * (time + 1) / time * math.log(math.sqrt(time + 1) / alpha))


def confidence_sequence(
    estimate: float,
    variance: float,
    units: int,
    alpha: float = ALPHA,
) -> Interval:
    """An always valid interval: estimate +- critical_value(units) * sqrt(variance).

    For means and ratios of units, and for their differences. The ends are infinite if the estimate
    is not finite, or the variance 0 or infinite. A variance of 0 means that no unit differs from
    another, so that the variance cannot be estimated.

    Args:
        variance: Of the estimate.
        units: Distinct units, the sample size of the theorem. More exposures of the same units
            decrease the variance; they do not increase this number.
    """
    if not _is_estimable(estimate, variance) or units <= 0:
        return Interval(-math.inf, math.inf)
    half = critical_value(units, alpha) * math.sqrt(variance)
    return Interval(estimate - half, estimate + half)


def interval(comparison: Comparison, alpha: float = ALPHA) -> Interval:
    """The always valid interval of a comparison's difference, which verdicts read.

    A confidence sequence with `interval_variance` and the number of balanced units, because the
    smaller arm limits the precision. The difference of a bounded outcome stays in its range.
    """
    found = confidence_sequence(
        comparison.difference,
        interval_variance(comparison, alpha),
        comparison.balanced_units,
        alpha,
    )
    if comparison.bounded is None or not found.is_known:
        return found
    largest = comparison.bounded.width
    return Interval(max(found.low, -largest), min(found.high, largest))


def interval_variance(comparison: Comparison, alpha: float = ALPHA, growth: float = 1) -> float:
    """The variance of the difference that `interval` uses.

    `Comparison.conservative_variance` for an outcome without a range. Where events are rare, it is
    too small: an arm without an event has a sample variance of 0, and borrows that of the other.
    For a bounded outcome, each arm therefore gets c^2 pseudo-units, half of them with the lowest
    outcome and half with the highest, and the variance is the larger one of the sample variance and

        sum_a v_a / m_a,  v_a the variance of m_a units like those of arm a and the pseudo-units

    with c = critical_value(balanced units) and m_a the effective units of the arm. For a share p
    it is p~ (1 - p~) / m_a with p~ = (p m_a + c^2 / 2) / (m_a + c^2), the interval of Agresti and
    Coull (The American Statistician, 1998) with c in place of a normal quantile.

    Args:
        growth: By how much the units of both arms are multiplied; means and spreads stay.
    """
    bounded = comparison.bounded
    if bounded is None:
        return comparison.conservative_variance / growth
    balanced = int(comparison.balanced_units * growth)
    if not balanced:
        return math.inf
    added = critical_value(balanced, alpha) ** 2
    means = (comparison.control, comparison.treatment)
    pseudo = sum(
        _variance_with_pseudo_units(mean, spread, units * growth, added, bounded) / (units * growth)
        for mean, spread, units in zip(means, bounded.spread, bounded.effective_units, strict=True)
    )
    sampled = comparison.variance / growth
    return max(pseudo, sampled) if math.isfinite(sampled) else pseudo


def _variance_with_pseudo_units(
    mean: float, spread: float, units: float, added: float, bounded: BoundedOutcome
) -> float:
    """The variance of units with this mean and spread, and of pseudo-units at both ends."""
    middle, half = (bounded.low + bounded.high) / 2, bounded.width / 2
    share = added / (units + added)
    return (1 - share) * spread + share * half**2 + share * (1 - share) * (mean - middle) ** 2


def fixed_horizon(estimate: float, variance: float, alpha: float = ALPHA) -> Interval:
    """The normal interval, estimate +- z(1 - alpha/2) sqrt(variance), for one planned look."""
    _check_alpha(alpha)
    if not _is_estimable(estimate, variance):
        return Interval(-math.inf, math.inf, always_valid=False)
    half = float(norm.isf(alpha / 2)) * math.sqrt(variance)
    return Interval(estimate - half, estimate + half, always_valid=False)


def log_evidence(successes: float, trials: float, share: float) -> float:
    """The log of the evidence (e-value, Bayes factor) against a share.

    The beta-binomial mixture (Robbins, Ann. Math. Stat. 1970): the likelihood of k successes and m
    failures under a uniformly distributed share, divided by that under `share` = p:

        evidence = B(1 + k, 1 + m) / (B(1, 1) p^k (1 - p)^m)

    If p is the true share, the evidence is a martingale that starts at 1. It ever reaches 1 / alpha
    with probability at most alpha (Ville's inequality).
    """
    failures = trials - successes
    mixture = betaln(_BETA_PRIOR + successes, _BETA_PRIOR + failures) - betaln(
        _BETA_PRIOR, _BETA_PRIOR
    )
    return float(mixture - xlogy(successes, share) - xlog1py(failures, -share))


def proportion_sequence(successes: float, trials: float, alpha: float = ALPHA) -> Interval:
    """The shares with evidence below 1 / alpha: always valid, for any number of trials.

    Args:
        successes, trials: Of independent trials; the outcome of each was final when it was counted.
            Counts of weighted trials need not be integers; the interval is then approximate.

    Raises:
        ValueError: Not 0 <= successes <= trials, or alpha is not in (0, 1).
    """
    _check_counts(successes, trials)
    _check_alpha(alpha)
    low = _lower_bound(successes, trials, alpha)
    return Interval(low, 1 - _lower_bound(trials - successes, trials, alpha))


def rate(successes: float, trials: float, alpha: float = ALPHA) -> Rate:
    """A share with its `proportion_sequence`, which is 0 to 1 without a trial."""
    return Rate(successes, trials, proportion_sequence(successes, trials, alpha))


def weighted_rate(
    images: Floats, weight: Floats, successes: Flags, design_effect: float, alpha: float = ALPHA
) -> Rate:
    """A weighted share with an always valid interval.

    The interval is that of an unweighted share with the effective sample size (Korn, Graubard,
    Survey Methodology 1998), which is Kish's for weights, divided by the design effect of units:

        n = (sum w_i)^2 / sum w_i^2 / design_effect

    Args:
        images: float64 [n], of each row.
        weight: float64 [n], of each image of a row.
        successes: bool [n].
        design_effect: See `clusters.design_effect`.
    """
    weights = images * weight
    total = float(weights.sum())
    if not total:
        return rate(0, 0, alpha)
    share = min(1.0, float(weights[successes].sum()) / total)
    effective = total**2 / float(weights @ weight) / design_effect
    return rate(share * effective, effective, alpha)


def complement(rate: Rate) -> Rate:
    """The rate of failures."""
    low, high = 1 - rate.interval.high, 1 - rate.interval.low
    return Rate(rate.trials - rate.successes, rate.trials, Interval(low, high))


def bonferroni(alpha: float, slices: int) -> float:
    """The alpha of each of several slices, alpha / slices, so that all hold together with alpha.

    Raises:
        ValueError: slices is below 1.
    """
    if slices < 1:
        raise ValueError(f"slices is {slices}: expected 1 or more")
    return alpha / slices


def _lower_bound(successes: float, trials: float, alpha: float) -> float:
    """The smallest share with evidence of at most 1 / alpha."""

    def excess(share: float) -> float:
        return log_evidence(successes, trials, share) + math.log(alpha)

    if not successes or excess(_SMALLEST_SHARE) <= 0:
        return 0.0
    return float(brentq(excess, _SMALLEST_SHARE, min(successes / trials, 1 - 1e-16), xtol=1e-15))


def _is_estimable(estimate: float, variance: float) -> bool:
    return math.isfinite(estimate) and 0 < variance < math.inf


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}: expected above 0 and below 1")


def _check_counts(successes: float, trials: float) -> None:
    if not 0 <= successes <= trials < math.inf:
        raise ValueError(f"{successes} of {trials}: expected 0 <= successes <= trials")
