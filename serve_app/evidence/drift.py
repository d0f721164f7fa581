"""Drift of a distribution, such as that of predicted labels or of binned confidences."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy
from scipy.stats import chi2

from serve_app.evidence.units import Floats, check_columns

DRIFT_ALPHA = 0.001  # of one look; small, because there are many looks
MIN_EXPECTED_COUNT = 10  # of a class; below it, the chi-square approximation is poor


@dataclass(frozen=True, slots=True)
class Drift:
    """Attributes:
    divergence: Jensen-Shannon, in bits: 0 if the distributions are equal, 1 if they are disjoint.
        Sampling error makes it larger than 0. Rare classes are merged into one.
    noise: The critical value at about alpha for one look, in bits: the (1 - alpha) quantile of the
        divergence of two samples of the same distribution.
    """

    divergence: float
    noise: float

    @property
    def is_drift(self) -> bool:
        """Whether the divergence is above the critical value."""
        return self.divergence > self.noise


def divergence(one: Floats, other: Floats) -> float:
    """The Jensen-Shannon divergence in bits (Lin, IEEE Trans. Inf. Theory 1991).

        JSD(P, Q) = H((P + Q) / 2) - (H(P) + H(Q)) / 2, with H(P) = -sum p log2(p)

    Args:
        one, other: float64 [k], counts or shares of the same k classes, 0 or more, not all 0.

    Raises:
        ValueError: The columns differ in length, or one is not a distribution.
    """
    p, q = _normalize(one, other)
    mixture, p_entropy, q_entropy = (-float(xlogy(d, d).sum()) for d in ((p + q) / 2, p, q))
    return max(0.0, (mixture - (p_entropy + q_entropy) / 2) / math.log(2))


def drift(
    before: Floats, now: Floats, images_per_unit: float = 1.0, alpha: float = DRIFT_ALPHA
) -> Drift | None:
    """Test whether counts of the same classes come from one distribution.

    For samples of sizes n and m from one distribution of k classes, approximately (Grosse et al.,
    Phys. Rev. E 65, 041905, 2002)

        JSD ~ (1/n + 1/m) / (8 ln 2) * chi-square with k - 1 degrees of freedom

    `Drift.noise` is the (1 - alpha) quantile of this. Classes with an expected count below
    `MIN_EXPECTED_COUNT` in the smaller sample are merged. With rare classes, the false alarm rate
    is still up to three times alpha.

    Images of one unit are correlated. The quantile is multiplied by the images of a unit, which is
    exact if all images of a unit have the same label and conservative otherwise.

    Args:
        before, now: float64 [k], counts.
        images_per_unit: See `clusters.images_per_unit`; 1 if images are independent.

    Returns:
        None if a sample is empty.
    """
    n, m = float(before.sum()), float(now.sum())
    if not n or not m:
        return None
    is_rare = (before + now) * min(n, m) / (n + m) < MIN_EXPECTED_COUNT
    one, other = (np.append(counts[~is_rare], counts[is_rare].sum()) for counts in (before, now))
    classes = int(np.count_nonzero(one + other))
    quantile = float(chi2.isf(alpha, classes - 1)) if classes > 1 else 0.0
    noise = images_per_unit * (1 / n + 1 / m) / (8 * math.log(2)) * quantile
    return Drift(divergence(one, other), noise)


def _normalize(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    check_columns(one=one, other=other)
    for counts in (one, other):
        if not (np.isfinite(counts).all() and (counts >= 0).all() and counts.any()):
            raise ValueError(f"{counts} is no distribution: expected counts, not all of them 0")
    return one / one.sum(), other / other.sum()
