"""Bias-corrected temperature scaling (Alexandari, Kundaje and Shrikumar, ICML 2020).

A temperature corrects how sure a network is (Guo et al., ICML 2017), a bias a label how often it
gives that label: training on few koalas and mixed images leaves it shy of saying koala.
"""

from __future__ import annotations

from math import exp, log

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.classifier import softmax
from models.network import Floats

TEMPERATURES = (0.05, 20.0)
BIASES = (-3.0, 3.0)


def calibrate(logits: Floats, targets: NDArray[np.int64]) -> tuple[float, tuple[float, ...]]:
    """The temperature and the biases under which the targets are likeliest.

    Args:
        logits: [n, classes], of images that were not trained on.
        targets: [n], index of the true class.

    Returns:
        The divisor of the logits, within `TEMPERATURES`, above 1 where the network was too sure;
        and what is then added a class, their mean 0; all to four digits.
    """
    classes = logits.shape[1]

    def surprise(parameters: NDArray[np.float64]) -> float:
        likelihood = softmax(logits, exp(parameters[0]), _centred(parameters[1:]))
        return float(-np.log(likelihood[np.arange(len(targets)), targets].clip(1e-12)).mean())

    bounds = [(log(TEMPERATURES[0]), log(TEMPERATURES[1])), *([BIASES] * classes)]
    found = minimize(surprise, np.zeros(1 + classes), method="L-BFGS-B", bounds=bounds).x
    return round(exp(found[0]), 4), tuple(round(float(b), 4) for b in _centred(found[1:]))


def _centred(biases: NDArray[np.float64]) -> NDArray[np.float64]:
    return biases - np.mean(biases)
