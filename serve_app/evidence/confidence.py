"""How sure we are, however often somebody looks.

An interval that is always valid holds at all looks at once: the chance that it ever misses the
truth is at most alpha. Whoever stops when the figures please him is not misled. One of a fixed
horizon holds for a single look whose time was settled before, and says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.special import betaln, xlog1py, xlogy
from scipy.stats import norm

from serve_app.evidence.comparison import Comparison
from serve_app.evidence.units import Floats

ALPHA = 0.05
TUNED_FOR = 5000  # units, at which a confidence sequence is about as narrow as it can be
_PRIOR = 1.0  # Beta(1, 1): every share is as likely as any other
_LEAST = 1e-300


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the truth lies; infinite ends say that nothing is known.

    Attributes:
        always_valid: Whether looking is free; False for a fixed horizon.
    """

    low: float
    high: float
    always_valid: bool = True

    @property
    def is_known(self) -> bool:
        """Whether it excludes anything."""
        return math.isfinite(self.low) or math.isfinite(self.high)

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __sub__(self, other: Interval) -> Interval:
        """Where the difference lies if both hold."""
        always_valid = self.always_valid and other.always_valid
        return Interval(self.low - other.high, self.high - other.low, always_valid)


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of independent trials. The counts need not be whole where trials are weighted.

    Attributes:
        estimate: 0 to 1; None if there was no trial: not known.
    """

    successes: float
    trials: float
    interval: Interval

    @property
    def estimate(self) -> float | None:
        return self.successes / self.trials if self.trials else None


def critical(units: int, alpha: float = ALPHA, tuned_for: int = TUNED_FOR) -> float:
    """How many standard errors an asymptotic confidence sequence reaches to either side.

    Theorem 2.2 of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (arXiv 2103.06476), with rho
    for a width that is least at about `tuned_for` units. For alpha 0.05 it is never below 3.03; a
    fixed horizon has 1.96. Below some hundred units it is far wider than need be, on purpose: the
    theorem is asymptotic.

    Raises:
        ValueError: units or tuned_for is not above 0, or alpha not in (0, 1).
    """
    _check_alpha(alpha)
    if units <= 0 or tuned_for <= 0:
        raise ValueError(f"units is {units}, tuned_for {tuned_for}: expected both above 0")
    rho2 = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / tuned_for
    time = units * rho2
    return math.sqrt(2 * (time + 1) / time * math.log(math.sqrt(time + 1) / alpha))


def confidence_sequence(
    estimate: float,
    variance: float,
    units: int,
    alpha: float = ALPHA,
    tuned_for: int = TUNED_FOR,
) -> Interval:
    """An interval that is always valid, for any mean or difference of means or ratios of units.

    Args:
        variance: Of the estimate. 0 and infinite mean that nothing is known: where no unit
            differs from another, chance cannot be labelled_feedback (see `share_difference`).
        units: Distinct ones. They are the clock: units that come back make the variance smaller,
            not the number larger.
    """
    if not _tells(estimate, variance) or units <= 0:
        return Interval(-math.inf, math.inf)
    half = critical(units, alpha, tuned_for) * math.sqrt(variance)
    return Interval(estimate - half, estimate + half)


def interval(comparison: Comparison, alpha: float = ALPHA, tuned_for: int = TUNED_FOR) -> Interval:
    """Where the difference of a comparison lies: always valid, what gates and verdicts read.

    The variance is the cautious one, and the clock goes by balanced units, for the little that a
    small arm knows is what limits the difference. With arms of equal size and spread this is
    GrowthBook's interval. With treatment at 1 % at first and rare events, that one misses the
    truth far more often than alpha allows (tests/unit/evidence/test_simulations.py).
    """
    return confidence_sequence(
        comparison.difference, comparison.cautious, comparison.balanced_units, alpha, tuned_for
    )


def fixed_horizon(estimate: float, variance: float, alpha: float = ALPHA) -> Interval:
    """The usual normal interval, for one look at a time that was settled before."""
    _check_alpha(alpha)
    if not _tells(estimate, variance):
        return Interval(-math.inf, math.inf, always_valid=False)
    half = float(norm.isf(alpha / 2)) * math.sqrt(variance)
    return Interval(estimate - half, estimate + half, always_valid=False)


def log_evidence(successes: float, trials: float, share: float) -> float:
    """The logarithm of the evidence against a share: a martingale that begins at 0 if it is true.

    The likelihood of a uniformly drawn share, by that of `share`: the beta-binomial mixture
    (Robbins, Ann. Math. Stat. 1970). Evidence of 1 / alpha is reached with probability alpha at
    most, however long one waits (Ville).
    """
    failures = trials - successes
    mixture = betaln(_PRIOR + successes, _PRIOR + failures) - betaln(_PRIOR, _PRIOR)
    return float(mixture - xlogy(successes, share) - xlog1py(failures, -share))


def proportion_sequence(successes: float, trials: float, alpha: float = ALPHA) -> Interval:
    """The shares against which the evidence is below 1 / alpha: always valid, at any count.

    Args:
        successes, trials: Of independent trials, each of which was settled when it was counted.
            They need not be whole (weighted trials); then it is an approximation.
    """
    _check_counts(successes, trials)
    _check_alpha(alpha)
    low = _lowest_share(successes, trials, alpha)
    return Interval(low, 1 - _lowest_share(trials - successes, trials, alpha))


def rate(successes: float, trials: float, alpha: float = ALPHA) -> Rate:
    """A share with its `proportion_sequence`: 0 to 1, not known, if there was no trial."""
    return Rate(successes, trials, proportion_sequence(successes, trials, alpha))


def share_difference(
    control: tuple[float, float], treatment: tuple[float, float], alpha: float = ALPHA
) -> Interval:
    """Treatment's share less control's, always valid also where events are rare or absent.

    Where both arms are free of errors no variance can be estimated, and yet much is known. It is
    wider than a confidence sequence where that can be had. For units of a single epoch: shares of
    epochs with different weights must not be pooled.

    Args:
        control, treatment: Units with an event, units.
    """
    return proportion_sequence(*treatment, alpha / 2) - proportion_sequence(*control, alpha / 2)


def no_event_difference(control: Floats, treatment: Floats, alpha: float = ALPHA) -> Interval:
    """`share_difference` where no unit had an event, for epochs whose weights differ.

    Had the units of an arm an event with probability p_s in epoch s, the chance of none is at most
    (1 - p)^n for their mean p: it is bounded as if all were alike. The mix of epochs of both arms
    together gives epoch s up to `most` times the share that it has in the arm, so that the mean of
    that mix is at most `most` times p.

    Args:
        control, treatment: [epochs], units, above 0; nothing is known without an epoch.
    """
    if not len(control):
        return Interval(-math.inf, math.inf)
    both = control + treatment
    highest = [
        float((both / both.sum() / (arm / arm.sum())).max())
        * proportion_sequence(0, float(arm.sum()), alpha / 2).high
        for arm in (control, treatment)
    ]
    return Interval(-min(1.0, highest[0]), min(1.0, highest[1]))


def bonferroni(alpha: float, slices: int) -> float:
    """The alpha of each of several slices, so that all of them hold together with alpha.

    Raises:
        ValueError: slices is below 1.
    """
    if slices < 1:
        raise ValueError(f"slices is {slices}: expected 1 or more")
    return alpha / slices


def _lowest_share(successes: float, trials: float, alpha: float) -> float:
    def surplus(share: float) -> float:
        return log_evidence(successes, trials, share) + math.log(alpha)

    if not successes or surplus(_LEAST) <= 0:
        return 0.0
    return float(brentq(surplus, _LEAST, min(successes / trials, 1 - 1e-16), xtol=1e-15))


def _tells(estimate: float, variance: float) -> bool:
    return math.isfinite(estimate) and 0 < variance < math.inf


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}: expected above 0 and below 1")


def _check_counts(successes: float, trials: float) -> None:
    if not 0 <= successes <= trials < math.inf:
        raise ValueError(f"{successes} of {trials}: expected 0 <= successes <= trials")
