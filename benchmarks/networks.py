"""Costs of candidate networks: inference in ONNX Runtime and torch, and training.

    python -m benchmarks.networks

Random weights, 112 px, one thread; medians of interleaved rounds. docs/adr/0002 has results.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import onnxruntime
import torch
import torchvision
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from models.cnn import SmallCNN

SIDE = 112  # px
CLASSES = 3
ROUNDS = 30
TRAINING_BATCH = 64

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "SmallCNN 1-1-1-1": lambda: SmallCNN(CLASSES, depths=(1, 1, 1, 1)),
    "SmallCNN 1-1-2-1": lambda: SmallCNN(CLASSES, depths=(1, 1, 2, 1)),
    "SmallCNN 1-2-2-1": lambda: SmallCNN(CLASSES, depths=(1, 2, 2, 1)),
    "ResNet-18": lambda: torchvision.models.resnet18(num_classes=CLASSES),
    "MobileNetV3-small": lambda: torchvision.models.mobilenet_v3_small(num_classes=CLASSES),
    "ShuffleNetV2 1.0": lambda: torchvision.models.shufflenet_v2_x1_0(num_classes=CLASSES),
}


def main() -> None:
    torch.set_num_threads(1)
    table = Table("network", "parameters, M", "MAC, M", "ONNX, ms", "torch, ms", "training, ms")
    networks = {name: build().eval() for name, build in NETWORKS.items()}
    sessions = {name: _session(network) for name, network in networks.items()}
    image = torch.rand(1, 3, SIDE, SIDE)
    onnx_ms: dict[str, list[float]] = {name: [] for name in networks}
    torch_ms: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(ROUNDS):
        for name, network in networks.items():
            onnx_ms[name].append(_ms(partial(sessions[name].run, None, {"x": image.numpy()})))
            with torch.inference_mode():
                torch_ms[name].append(_ms(partial(network, image)))
    for name, network in networks.items():
        table.add_row(
            name,
            f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}",
            f"{_macs(network, image) / 1e6:.0f}",
            f"{median(onnx_ms[name]):.2f}",
            f"{median(torch_ms[name]):.2f}",
            f"{_training_ms(network):.2f}",
        )
    Console(width=100).print(table)


def _ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


def _session(network: nn.Module) -> onnxruntime.InferenceSession:
    program = torch.onnx.export(
        network, (torch.rand(1, 3, SIDE, SIDE),), input_names=["x"], dynamo=True, verbose=False
    )
    assert program is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    session.run(None, {"x": np.zeros((1, 3, SIDE, SIDE), np.float32)})
    return session


def _macs(network: nn.Module, image: Tensor) -> float:
    """Multiply-accumulate operations of the convolutions for one image."""
    total = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d)
        total += output.numel() * layer.weight[0].numel()

    hooks = [
        layer.register_forward_hook(count)
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    with torch.inference_mode():
        network(image)
    for hook in hooks:
        hook.remove()
    return total


def _training_ms(network: nn.Module, steps: int = 6) -> float:
    """Time of a forward and backward pass per image, ms; the fastest of `steps` batches."""
    network.train().to(memory_format=torch.channels_last)
    batch = torch.rand(TRAINING_BATCH, 3, SIDE, SIDE).to(memory_format=torch.channels_last)
    targets = torch.randint(0, CLASSES, (TRAINING_BATCH,))

    def step() -> None:
        nn.functional.cross_entropy(network(batch), targets).backward()

    return min(_ms(step) for _ in range(steps)) / TRAINING_BATCH


if __name__ == "__main__":
    main()
