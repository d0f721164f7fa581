"""Export to ONNX, and comparison of the export with the network."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import onnx
import torch
from torch import Tensor

from models.cnn import PixelsToLogits, SmallCNN
from models.network import Floats
from models.onnx_backend import INPUT, LABELS_KEY, OUTPUT
from models.preprocess import Pixels
from training.errors import TrainingError

OPSET = 20
TOLERANCE = 1e-4  # largest allowed difference of a probability between the backends


def build_network(
    weights: dict[str, Tensor], widths: Sequence[int], depths: Sequence[int]
) -> PixelsToLogits:
    """Build the network with saved weights, in evaluation mode."""
    network = SmallCNN(len(weights["head.bias"]), widths, depths)
    network.load_state_dict(weights)
    return PixelsToLogits(network).eval()


def export_onnx(network: PixelsToLogits, side: int, labels: Sequence[str]) -> bytes:
    """Export to ONNX: `pixels` uint8 [n, side, side, 3] -> `logits` float32 [n, labels].

    The metadata holds the labels, and nothing of the exporting machine.

    Raises:
        TrainingError: torch returned no program.
    """
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    program = torch.onnx.export(
        network,
        (example,),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes={"pixels": {0: torch.export.Dim("n")}},
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise TrainingError("torch.onnx.export returned no program")
    model = program.model_proto
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input):
        del part.metadata_props[:]  # source lines and paths of the exporting machine
    del model.metadata_props[:]
    model.producer_version = ""  # differs between builds of one torch version
    onnx.helper.set_model_props(model, {LABELS_KEY: json.dumps(list(labels))})
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def largest_difference(one: Floats, other: Floats) -> float:
    """Largest absolute difference between two arrays of probabilities."""
    return float(np.abs(one - other).max())


def reference_logits(network: PixelsToLogits, pixels: Pixels, batch: int = 32) -> Floats:
    """Logits [n, classes] computed by torch, of uint8 pixels [n, side, side, 3]."""
    with torch.inference_mode():
        parts = [network(part) for part in torch.from_numpy(pixels).split(batch)]
    return torch.cat(parts).numpy()
