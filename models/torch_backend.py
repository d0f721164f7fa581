"""torch backend, for GPUs; reference for the ONNX export."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from torch import Tensor

from models.cnn import PixelsToLogits, SmallCNN
from models.errors import BadVersion
from models.network import Floats
from models.preprocess import Pixels
from models.registry import WEIGHTS_FILE, Version


class TorchNetwork:
    """The `weights.safetensors` of a version, on a GPU if one is available."""

    def __init__(self, version: Version, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = False  # TF32 would differ from ONNX by more than 1e-4
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        card = version.card
        network = SmallCNN(len(card.labels), card.architecture.widths, card.architecture.depths)
        try:
            network.load_state_dict(load_weights(version))
        except RuntimeError as exc:
            path, why = version.folder / WEIGHTS_FILE, str(exc).splitlines()[0]
            raise BadVersion(f"{path} does not fit the architecture in its card: {why}") from exc
        network = network.to(memory_format=torch.channels_last)
        self._network = PixelsToLogits(network).eval().to(self._device)

    def logits(self, pixels: Pixels) -> Floats:
        with torch.inference_mode():
            batch = torch.tensor(pixels, device=self._device)
            return self._network(batch).cpu().numpy()  # type: ignore[no-any-return]


def load_weights(version: Version) -> dict[str, Tensor]:
    """The weights of a version, by parameter name of `SmallCNN`.

    Raises:
        BadVersion: The file is not a safetensors file.
    """
    try:
        return parse_safetensors(version.files[WEIGHTS_FILE])
    except SafetensorError as exc:
        raise BadVersion(f"{version.folder / WEIGHTS_FILE} cannot be read: {exc}") from exc
