"""Export to ONNX, and the proof that the export answers as the network does."""

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
TOLERANCE = 1e-4  # largest difference of a probability between the backends


def network_of(
    weights: dict[str, Tensor], widths: Sequence[int], depths: Sequence[int]
) -> PixelsToLogits:
    """The network of saved weights, ready to answer."""
    network = SmallCNN(len(weights["head.bias"]), widths, depths)
    network.load_state_dict(weights)
    return PixelsToLogits(network).eval()


def to_onnx(network: PixelsToLogits, side: int, labels: Sequence[str]) -> bytes:
    """The network as an ONNX file: `pixels` uint8 [n, side, side, 3] to `logits` [n, labels].

    The labels stand in its metadata; nothing of the machine that exported it does.
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
        raise TrainingError("torch exported nothing")
    model = program.model_proto
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input):
        del part.metadata_props[:]  # source lines and paths of the exporting machine
    del model.metadata_props[:]
    model.producer_version = ""  # differs between builds of one version of torch
    onnx.helper.set_model_props(model, {LABELS_KEY: json.dumps(list(labels))})
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def largest_difference(one: Floats, other: Floats) -> float:
    """The largest difference between two arrays of probabilities; `TOLERANCE` is allowed."""
    return float(np.abs(one - other).max())


def reference_logits(network: PixelsToLogits, pixels: Pixels, batch: int = 32) -> Floats:
    """[n, classes] from torch, for uint8 [n, side, side, 3]."""
    with torch.inference_mode():
        parts = [network(part) for part in torch.from_numpy(pixels).split(batch)]
    return torch.cat(parts).numpy()
