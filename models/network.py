"""What a backend offers: the network of one version, loaded."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.preprocess import Pixels

Floats = NDArray[np.float32]


class Network(Protocol):
    """The network of one version; calls from several threads at once are safe."""

    def logits(self, pixels: Pixels) -> Floats:
        """[n, classes] before calibration, for uint8 [n, side, side, 3]."""
        ...
