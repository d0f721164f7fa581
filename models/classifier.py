"""A loaded version on the ONNX or the torch backend."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models import registry
from models.card import Card
from models.errors import BackendMissing
from models.network import Floats, Network
from models.preprocess import Pixels
from models.registry import Version

Backend = Literal["onnx", "torch"]


@dataclass(frozen=True)
class Classifier:
    """A loaded version. Thread-safe."""

    card: Card
    network: Network
    backend: Backend

    def probabilities(self, pixels: Pixels) -> Floats:
        """Calibrated probabilities of the version's labels.

        Args:
            pixels: uint8 [n, side, side, 3], where side is the card's; n may be 0.

        Returns:
            float32 [n, labels]; rows sum to 1.

        Raises:
            ValueError: Wrong shape or dtype.
        """
        side = self.card.input.side
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (side, side, 3):
            raise ValueError(
                f"pixels are {pixels.dtype} {list(pixels.shape)};"
                f" {self.card.version} takes uint8 [n, {side}, {side}, 3]"
            )
        if not len(pixels):
            return np.empty((0, len(self.card.labels)), np.float32)
        calibration = self.card.calibration
        biases = np.array(calibration.biases, np.float64)
        return softmax(self.network.logits(pixels), calibration.temperature, biases).astype(
            np.float32
        )


def softmax(
    logits: Floats, temperature: float = 1.0, biases: NDArray[np.float64] | float = 0.0
) -> NDArray[np.float64]:
    """Softmax over the last axis of logits / temperature + biases; temperature > 0."""
    scaled = logits.astype(np.float64) / temperature + biases
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


def load(
    version: str,
    backend: Backend = "onnx",
    folder: Path = registry.SHIPPED,
    threads: int = 1,
) -> Classifier:
    """Verify a version of a registry and load it.

    Args:
        threads: CPU threads per batch; torch sets them for the whole process.

    Raises:
        UnknownVersion, BadVersion: See `models.registry.load`. BadVersion also if the backend
            cannot load its file, or the labels in it differ from the card's.
        BackendMissing: The backend's libraries are not installed.
    """
    return open_version(registry.load(version, folder), backend, threads)


def open_version(version: Version, backend: Backend = "onnx", threads: int = 1) -> Classifier:
    """Load a verified version; see `load`."""
    network: Network
    if backend == "onnx":
        from models.onnx_backend import OnnxNetwork

        network = OnnxNetwork(version, threads)
    else:
        try:
            from models.torch_backend import TorchNetwork
        except ModuleNotFoundError as exc:
            raise BackendMissing(
                f"the torch backend needs {exc.name}: pip install 'serve-app[torch]',"
                " or use the onnx backend"
            ) from exc
        network = TorchNetwork(version, threads)
    return Classifier(version.card, network, backend)
