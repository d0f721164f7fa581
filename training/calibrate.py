"""Temperature calibration (Guo et al., On Calibration of Modern Neural Networks, ICML 2017)."""

from __future__ import annotations

from math import exp, log

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from models.classifier import softmax
from models.network import Floats

BOUNDS = (0.05, 20.0)


def temperature(logits: Floats, targets: NDArray[np.int64]) -> float:
    """The divisor of the logits under which the targets are likeliest.

    Args:
        logits: [n, classes], of pictures that were not trained on.
        targets: [n], index of the true class.

    Returns:
        A temperature within `BOUNDS`, to four digits: above 1 where the network was too sure.
    """

    def surprise(log_temperature: float) -> float:
        likelihood = softmax(logits, exp(log_temperature))[np.arange(len(targets)), targets]
        return float(-np.log(likelihood.astype(np.float64).clip(1e-12)).mean())

    found = minimize_scalar(surprise, bounds=(log(BOUNDS[0]), log(BOUNDS[1])), method="bounded")
    return round(exp(found.x), 4)
