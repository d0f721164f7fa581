"""Random choices."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_T = TypeVar("_T")


def pick(rng: np.random.Generator, options: Sequence[_T]) -> _T:
    """One of the options, with equal probability."""
    return options[int(rng.integers(len(options)))]


def flip(rng: np.random.Generator, probability: float) -> bool:
    """True with probability `probability` (0 .. 1)."""
    return bool(rng.random() < probability)
