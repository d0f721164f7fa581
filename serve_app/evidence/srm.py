"""SRM, sample ratio mismatch: the arms do not have the units that the weights imply.

With an SRM, units were lost or counted twice, and no comparison of the arms is valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, logsumexp, xlog1py, xlogy

from serve_app.evidence.units import Floats

# The test is always valid. The 0.001 that is usual for a chi-square test corrects for daily looks.
SRM_ALPHA = 0.01
# Of the Dirichlet prior around the weights, in pseudo-units. With 10, a large mismatch is found
# within 100 units; with 1,000, one of two percentage points within 10,000.
CONCENTRATIONS = (10.0, 1000.0)


@dataclass(frozen=True, slots=True)
class SrmCounts:
    """The units with their first assignment in an epoch, by arm.

    Attributes:
        weight: The configured share of treatment, 0 to 1.

    Raises:
        ValueError: A count is negative, or the weight is out of range.
    """

    epoch: int
    control: int
    treatment: int
    weight: float

    def __post_init__(self) -> None:
        if min(self.control, self.treatment) < 0:
            raise ValueError(f"epoch {self.epoch} has {self.control} and {self.treatment} units")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"epoch {self.epoch} has the weight {self.weight}: expected 0 to 1")


@dataclass(frozen=True, slots=True)
class Srm:
    """Attributes:
    control, treatment: Units by arm of their first assignment.
    expected: The units that treatment should have.
    p: Always valid: with correct weights, it is ever below alpha with a probability of at most
        alpha.
    """

    control: int
    treatment: int
    expected: float
    p: float

    @property
    def is_invalid(self) -> bool:
        """Whether the comparison of the arms is invalid."""
        return self.p < SRM_ALPHA


def check(epochs: Iterable[SrmCounts]) -> Srm:
    """The sequential multinomial test (Lindon, Malek, NeurIPS 2022, arXiv 2011.03567).

    With `log_evidence` of each epoch and concentration:

        evidence = mean over concentrations of the product over epochs
        p        = min(1, 1 / evidence)

    Epochs are multiplied because each has its own weight; a mean of e-values is an e-value. The
    inverse of the largest evidence so far would be valid as well, and smaller, but final counts do
    not contain it.

    The same test on units *with feedback* checks that both arms give feedback at the same rate.
    """
    counts = list(epochs)
    evidence = [
        sum(
            float(log_evidence(np.array(c.control), np.array(c.treatment), c.weight, concentration))
            for c in counts
        )
        for concentration in CONCENTRATIONS
    ]
    log_mean = float(logsumexp(evidence)) - float(np.log(len(CONCENTRATIONS)))
    return Srm(
        control=sum(c.control for c in counts),
        treatment=sum(c.treatment for c in counts),
        expected=sum(c.weight * (c.control + c.treatment) for c in counts),
        p=float(np.exp(min(0.0, -log_mean))),
    )


def check_slices(slices: Mapping[str, Iterable[SrmCounts]]) -> dict[str, Srm]:
    """Check each slice, such as a region, with Bonferroni-corrected p.

    A diagnosis: it shows in which slice a mismatch is, not whether there is one.
    """
    found = {name: check(epochs) for name, epochs in slices.items()}
    return {
        name: Srm(srm.control, srm.treatment, srm.expected, min(1.0, srm.p * len(found)))
        for name, srm in found.items()
    }


def sum_slices(slices: Mapping[str, Iterable[SrmCounts]]) -> list[SrmCounts]:
    """The counts of all slices together, by epoch."""
    epochs: dict[int, SrmCounts] = {}
    for counts in slices.values():
        for added in counts:
            total = epochs.get(added.epoch, SrmCounts(added.epoch, 0, 0, added.weight))
            epochs[added.epoch] = SrmCounts(
                added.epoch,
                total.control + added.control,
                total.treatment + added.treatment,
                added.weight,
            )
    return list(epochs.values())


def log_evidence(
    control: npt.NDArray[np.int64],
    treatment: npt.NDArray[np.int64],
    weight: float,
    concentration: float,
) -> Floats:
    """The log of the evidence (e-value, Bayes factor) against a weight.

    A Dirichlet-multinomial over the multinomial with the configured weight w; for c units of
    control, t of treatment and a concentration k:

        evidence = B(k (1 - w) + c, k w + t) / (B(k (1 - w), k w) (1 - w)^c w^t)

    It is infinite if an arm with the weight 0 has units.

    Args:
        control, treatment: Units, arrays of the same shape.
        concentration: Of the prior around the weight, in pseudo-units.
    """
    if weight in (0, 1):
        unexpected = treatment if weight == 0 else control
        return np.where(unexpected > 0, np.inf, 0.0)
    a, b = concentration * (1 - weight), concentration * weight
    mixture = betaln(a + control, b + treatment) - betaln(a, b)
    expected = xlog1py(control, -weight) + xlogy(treatment, weight)
    return np.asarray(mixture - expected, np.float64)
