"""E-values: evidence against a hypothesis, which may be read after every unit.

An e-value has a mean of at most 1 if its hypothesis is true. Those here are products with a factor
for each unit, so the probability that one ever reaches 1 / alpha, at any look, is at most alpha
(Ville's inequality; Ramdas, Grünwald, Vovk, Shafer, arXiv 2210.01948). They need the present counts
only, no earlier looks. An e-value may fall again after it has reached 1 / alpha; the first time
counts, see `gate.Latch`.

Sums of logarithms are finite for all counts. What is returned is at most `MAX_E_VALUE`, so it is a
finite number; the smaller of an e-value and a constant is an e-value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import logsumexp

from serve_app.evidence.units import Flags, Floats, sum_by_code

MAX_E_VALUE = 1e12
# Odds of an event in treatment, relative to its share under the hypothesis. Harm that is less than
# about 1.23 times as frequent gives no evidence, however many units there are.
ODDS_RATIOS = np.array([1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0])
# Shares of events that equal versions may have: factors of about 3 to 4, from 1 in 1,000 on.
SHARES = np.array([0.001, 0.004, 0.015, 0.05, 0.15, 0.4])
_BISECTIONS = 60  # halve an interval of at most 1 to less than the precision of float64


@dataclass(frozen=True, slots=True, eq=False)
class GateCell:
    """Units and units with the event, by arm; one entry a cell.

    A cell has the units with one probability of treatment, such as those of an epoch. Each unit is
    in one cell and counts once. Leading dimensions of the counts, such as runs and looks, are
    independent of each other.

    Attributes:
        weight: float64 [cells], the probability of treatment, 0 to 1. Cells with the weight 0 or 1
            have one arm and give no evidence.
        control_units, control_events, treatment_units, treatment_events: float64 [..., cells],
            0 <= events <= units.

    Raises:
        ValueError: A shape or a value is out of range.
    """

    weight: Floats
    control_units: Floats
    control_events: Floats
    treatment_units: Floats
    treatment_events: Floats

    def __post_init__(self) -> None:
        if self.weight.ndim != 1 or not ((self.weight >= 0) & (self.weight <= 1)).all():
            raise ValueError(f"weight is {self.weight}: expected one a cell, each 0 to 1")
        shape = (*self.control_units.shape[:-1], *self.weight.shape)
        for arm in ("control", "treatment"):
            units, events = getattr(self, f"{arm}_units"), getattr(self, f"{arm}_events")
            if not units.shape == events.shape == shape:
                raise ValueError(f"{arm} has {units.shape} units and {events.shape} events")
            if not ((events >= 0) & (events <= units) & (units < math.inf)).all():
                raise ValueError(f"{arm} has a cell without 0 <= events <= units")

    @classmethod
    def count(cls, weight: Floats, treated: Flags, event: Flags) -> Self:
        """The cells of single units, by weight.

        Args:
            weight: float64 [units], the probability of treatment of each unit.
            treated, event: bool [units], the arm and the outcome of each unit.
        """
        weights, cell = np.unique(weight, return_inverse=True)
        return cls(
            weights,
            *(
                sum_by_code(cell, rows.astype(np.float64), len(weights))
                for arm in (~treated, treated)
                for rows in (arm, arm & event)
            ),
        )

    def with_both_arms(self) -> GateCell:
        """These cells without the units of those with the weight 0 or 1."""
        has_both = (self.weight > 0) & (self.weight < 1)
        return GateCell(
            np.where(has_both, self.weight, 0.5),
            self.control_units * has_both,
            self.control_events * has_both,
            self.treatment_units * has_both,
            self.treatment_events * has_both,
        )


def harm_e_value(cells: GateCell) -> Floats:
    """Evidence that treatment has more events; against p_t <= p_c.

    If both arms are alike, a unit with an event is in treatment with the probability w of its cell,
    whatever the rate of events (thinned Bernoulli process: Lindon, Malek, arXiv 2011.03567). With
    k_t and k_c such units by arm, the likelihood ratio of events that have r times the odds:

        q = w r / (1 - w + w r)
        e = mean over r in `ODDS_RATIOS` of
            product over cells of (q / w)^k_t ((1 - q) / (1 - w))^k_c

    The mean is 1 if p_t = p_c. Units without an event do not enter, so a unit may count from its
    first event on, whatever its age. The hypothesis is then about every moment: an event that comes
    earlier in treatment, but not more often, looks like harm until the others have come.

    Returns:
        float64 [...], above or equal to 0, at most `MAX_E_VALUE`.
    """
    used = cells.with_both_arms()
    events = used.control_events + used.treatment_events
    return _mean_of_products(_log_odds_ratios(used.treatment_events, events, used.weight))


def non_inferiority_e_value(cells: GateCell, margin: float) -> Floats:
    """Evidence that treatment has less than `margin` more events; against p_t - p_c >= margin.

    The likelihood of the outcomes if both versions have the share p of events, divided by that of
    the nearest pair of shares in the hypothesis, which is (q + d, q) with d = margin and

        q = argmin of  w KL(p, q + d) + (1 - w) KL(p, q)      KL of two Bernoulli distributions
        e = mean over p in `SHARES` of product over cells of
            (p / (q + d))^k_t  ((1 - p) / (1 - q - d))^(n_t - k_t)
            (p / q)^k_c  ((1 - p) / (1 - q))^(n_c - k_c)

    (Grünwald, de Heide, Koolen, arXiv 1906.07801; for two shares Turner, Grünwald, 2203.09785). The
    factor of a unit is 1 + lambda (d - z), a bet on the difference weighted by inverse
    probabilities, z = (y - m) / w in treatment and -(y - m) / (1 - w) in control (Waudby-Smith,
    Ramdas, 2010.09686; Waudby-Smith et al., 2210.10768). Of all m and lambda, the nearest pair
    gives those with which the evidence for equal versions with the share p grows fastest.

    The mean is 1 if p_t - p_c = d.

    Args:
        cells: The outcome of each unit must be final.
        margin: Above 0, below 1.

    Returns:
        float64 [...], above or equal to 0, at most `MAX_E_VALUE`.

    Raises:
        ValueError: margin is out of range.
    """
    if not 0 < margin < 1:
        raise ValueError(f"margin is {margin}: expected above 0 and below 1")
    used = cells.with_both_arms()
    control = _nearest_control_share(used.weight[:, np.newaxis], margin)
    treatment = control + margin
    outcomes = (
        (used.treatment_events, SHARES / treatment),
        (used.treatment_units - used.treatment_events, (1 - SHARES) / (1 - treatment)),
        (used.control_events, SHARES / control),
        (used.control_units - used.control_events, (1 - SHARES) / (1 - control)),
    )
    logs = sum(units[..., np.newaxis] * np.log(ratio) for units, ratio in outcomes)
    return _mean_of_products(np.asarray(logs))


def above_limit_e_value(successes: Floats, trials: Floats, limit: float) -> Floats:
    """Evidence that a share is above a limit; against share <= limit.

    The likelihood ratios of shares with r times the limit's odds, as in `harm_e_value`:

        e = mean over r in `ODDS_RATIOS` of (s / l)^k ((1 - s) / (1 - l))^(n - k)
        s = l r / (1 - l + l r)

    Args:
        successes, trials: float64 [...], 0 <= successes <= trials. Counts of weighted trials need
            not be integers; the evidence is then approximate.
        limit: Above 0, below 1.

    Returns:
        float64 [...], above or equal to 0, at most `MAX_E_VALUE`.

    Raises:
        ValueError: limit is out of range.
    """
    if not 0 < limit < 1:
        raise ValueError(f"limit is {limit}: expected above 0 and below 1")
    logs = _log_odds_ratios(
        np.asarray(successes)[..., np.newaxis],
        np.asarray(trials)[..., np.newaxis],
        np.array([limit]),
    )
    return _mean_of_products(logs)


def below_limit_e_value(successes: Floats, trials: Floats, limit: float) -> Floats:
    """Evidence that a share is below a limit; against share >= limit. See `above_limit_e_value`."""
    return above_limit_e_value(np.asarray(trials) - successes, trials, 1 - limit)


def _log_odds_ratios(successes: Floats, trials: Floats, share: Floats) -> Floats:
    """[..., cells, ratios]: the log likelihood ratio of r times the odds of a share."""
    of_trial = np.log1p(share[:, np.newaxis] * (ODDS_RATIOS - 1))
    logs = successes[..., np.newaxis] * np.log(ODDS_RATIOS) - trials[..., np.newaxis] * of_trial
    return np.asarray(logs, np.float64)


def _nearest_control_share(weight: Floats, margin: float) -> Floats:
    """[cells, shares]: q of `non_inferiority_e_value`; weight [cells, 1], strictly within 0 to 1.

    The derivative of the convex sum is w (q + d - p) / ((q + d) (1 - q - d)) plus
    (1 - w) (q - p) / (q (1 - q)), so q lies between p - d and p.
    """
    low = np.maximum(SHARES - margin, 0) + 0 * weight
    high = np.minimum(SHARES, 1 - margin) + 0 * weight
    for _ in range(_BISECTIONS):
        control = (low + high) / 2
        treatment = control + margin
        slope = weight * (treatment - SHARES) * control * (1 - control)
        slope += (1 - weight) * (control - SHARES) * treatment * (1 - treatment)
        low, high = np.where(slope < 0, control, low), np.where(slope < 0, high, control)
    return np.asarray((low + high) / 2, np.float64)


def _mean_of_products(logs: Floats) -> Floats:
    """[...]: the mean over alternatives of products over cells; logs [..., cells, alternatives]."""
    log_mean = logsumexp(logs.sum(axis=-2), axis=-1) - math.log(logs.shape[-1])
    return np.asarray(np.exp(np.minimum(log_mean, math.log(MAX_E_VALUE))), np.float64)
