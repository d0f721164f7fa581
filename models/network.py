"""Interface of a backend: the loaded network of one version."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.preprocess import Pixels

Floats = NDArray[np.float32]


class Network(Protocol):
    """The network of one version. Thread-safe."""

    def logits(self, pixels: Pixels) -> Floats:
        """Uncalibrated logits, float32 [n, classes], of uint8 pixels [n, side, side, 3]."""
        ...
