"""SRM, sample ratio mismatch: the arms have not the units that the weights promise.

Then units were lost or counted twice on the way, and no comparison of the arms means anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, logsumexp, xlog1py, xlogy

from serve_app.evidence.units import Floats

# Always valid, so there is no need for the 0.001 that makes up for looking at chi-square daily.
SRM_ALPHA = 0.01
# How close to the weight a mismatch is expected, in units that the expectation is worth: with 10 a
# gross one is found within 100 units, with 1,000 one of two points within 10,000.
CONCENTRATIONS = (10.0, 1000.0)


@dataclass(frozen=True, slots=True)
class SrmCounts:
    """The units that were first assigned in one epoch, by the arm of that assignment.

    Attributes:
        weight: The share that treatment was to get, 0 to 1.
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
    control, treatment: Units at their first assignment.
    expected: How many of them treatment should have.
    p: Always valid: with true weights it is ever below alpha with probability alpha at most.
    """

    control: int
    treatment: int
    expected: float
    p: float

    @property
    def is_invalid(self) -> bool:
        """Whether no comparison may be read."""
        return self.p < SRM_ALPHA


def check(epochs: Iterable[SrmCounts]) -> Srm:
    """The sequential multinomial test (Lindon, Malek, NeurIPS 2022, arXiv 2011.03567).

    The evidence of an epoch is a Dirichlet-multinomial over the promised multinomial; epochs
    multiply, for each has a weight of its own; concentrations are averaged. Then p is its inverse
    as it stands now. The inverse of the highest it ever stood at would be valid too and smaller,
    but the counts do not tell it.

    The same test on units *that gave feedback* asks whether outcomes come back at one rate from
    both arms: if they do, these too are split by the weights.
    """
    counts = list(epochs)
    evidence = [
        sum(
            float(log_evidence(np.array(c.control), np.array(c.treatment), c.weight, concentration))
            for c in counts
        )
        for concentration in CONCENTRATIONS
    ]
    log_e = float(logsumexp(evidence)) - float(np.log(len(CONCENTRATIONS)))
    return Srm(
        control=sum(c.control for c in counts),
        treatment=sum(c.treatment for c in counts),
        expected=sum(c.weight * (c.control + c.treatment) for c in counts),
        p=float(np.exp(min(0.0, -log_e))),
    )


def check_slices(slices: Mapping[str, Iterable[SrmCounts]]) -> dict[str, Srm]:
    """Each slice, such as a region, by itself; p is Bonferroni-corrected. For diagnosis: it says
    where a mismatch comes from, not whether there is one."""
    found = {name: check(epochs) for name, epochs in slices.items()}
    return {
        name: Srm(srm.control, srm.treatment, srm.expected, min(1.0, srm.p * len(found)))
        for name, srm in found.items()
    }


def log_evidence(
    control: npt.NDArray[np.int64],
    treatment: npt.NDArray[np.int64],
    weight: float,
    concentration: float,
) -> Floats:
    """The logarithm of the evidence against a weight; infinite where an arm that none was promised
    has units.

    Args:
        control, treatment: Units, in arrays of one shape.
        concentration: How many units the weight is worth in the Dirichlet prior around it.
    """
    if weight in (0, 1):
        unexpected = treatment if weight == 0 else control
        return np.where(unexpected > 0, np.inf, 0.0)
    a, b = concentration * (1 - weight), concentration * weight
    mixture = betaln(a + control, b + treatment) - betaln(a, b)
    promised = xlog1py(control, -weight) + xlogy(treatment, weight)
    return np.asarray(mixture - promised, np.float64)
