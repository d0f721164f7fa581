"""Bias-corrected temperature scaling (Alexandari, Kundaje and Shrikumar, ICML 2020).

The temperature corrects the confidence (Guo et al., ICML 2017), the bias of a label how often it is
predicted: after training on few koalas and mixed images, koala is predicted too rarely.
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
    """Fit temperature and biases by maximum likelihood.

    Args:
        logits: [n, classes], of images that were not used for training.
        targets: [n] indices of the true classes.

    Returns:
        The temperature, within `TEMPERATURES`, above 1 if the network was overconfident; and one
        bias per class, with mean 0. All are rounded to four digits.
    """
    classes = logits.shape[1]

    def negative_log_likelihood(parameters: NDArray[np.float64]) -> float:
        probabilities = softmax(logits, exp(parameters[0]), _centre(parameters[1:]))
        return float(-np.log(probabilities[np.arange(len(targets)), targets].clip(1e-12)).mean())

    bounds = [(log(TEMPERATURES[0]), log(TEMPERATURES[1])), *([BIASES] * classes)]
    found = minimize(
        negative_log_likelihood, np.zeros(1 + classes), method="L-BFGS-B", bounds=bounds
    ).x
    return round(exp(found[0]), 4), tuple(round(float(b), 4) for b in _centre(found[1:]))


def _centre(biases: NDArray[np.float64]) -> NDArray[np.float64]:
    return biases - np.mean(biases)
