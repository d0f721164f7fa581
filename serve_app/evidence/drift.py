"""Has what the versions answer changed? Distributions of labels, or of confidence by bins."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy
from scipy.stats import chi2

from serve_app.evidence.units import Floats, check_columns

DRIFT_ALPHA = 0.001  # of one look; many are taken
LEAST_EXPECTED = 10  # images of a class, below which chi-square is no guide


@dataclass(frozen=True, slots=True)
class Drift:
    """Attributes:
    divergence: Jensen-Shannon, in bits: 0 if the distributions are equal, 1 if disjoint. Chance
        alone makes it larger than 0. Rare classes count as one.
    noise: What chance alone exceeds with a probability of about alpha; for one look.
    """

    divergence: float
    noise: float

    @property
    def is_drift(self) -> bool:
        """Whether chance hardly explains it."""
        return self.divergence > self.noise


def divergence(one: Floats, other: Floats) -> float:
    """The Jensen-Shannon divergence of two distributions, in bits (Lin, IEEE Trans. Inf. Th. 1991).

    Args:
        one, other: [k], counts or shares of the same k classes, 0 or more, not all 0.

    Raises:
        ValueError: They do not fit together, or are no counts.
    """
    p, q = _shares(one, other)
    middle = (p + q) / 2
    entropies = [-float(xlogy(d, d).sum()) for d in (middle, p, q)]
    return max(0.0, (entropies[0] - (entropies[1] + entropies[2]) / 2) / math.log(2))


def drift(
    before: Floats, now: Floats, each: float = 1.0, alpha: float = DRIFT_ALPHA
) -> Drift | None:
    """Compare counts of the same classes at two times, or of two versions.

    For equal distributions the divergence is about (1/n + 1/m) / (8 ln 2) times chi-square with
    k - 1 degrees of freedom for k classes (Grosse et al., Phys. Rev. E 65, 041905, 2002), whose
    quantile is the noise. Classes of which the smaller sample would have less than 10 are taken
    together; rare ones still alarm up to three times as often as alpha says.

    Images of one user resemble one another: the noise is multiplied by their number, which is
    what it comes to if all of a user's get the same label.

    Args:
        before, now: [k], counts.
        each: See `clusters.images_per_unit`; 1 if images are independent.

    Returns:
        None if nothing came at one of the times: not known.
    """
    n, m = float(before.sum()), float(now.sum())
    if not n or not m:
        return None
    rare = (before + now) * min(n, m) / (n + m) < LEAST_EXPECTED
    one, other = (np.append(counts[~rare], counts[rare].sum()) for counts in (before, now))
    classes = int(np.count_nonzero(one + other))
    level = float(chi2.isf(alpha, classes - 1)) if classes > 1 else 0.0
    noise = each * (1 / n + 1 / m) / (8 * math.log(2)) * level
    return Drift(divergence(one, other), noise)


def _shares(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    check_columns(one=one, other=other)
    for counts in (one, other):
        if not (np.isfinite(counts).all() and (counts >= 0).all() and counts.any()):
            raise ValueError(f"{counts} is no distribution: expected counts, not all of them 0")
    return one / one.sum(), other / other.sum()
