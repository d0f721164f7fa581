"""The network of the shipped versions: a small residual CNN.

It uses plain 3x3 convolutions because CPUs run them closest to peak speed, both in training and in
ONNX Runtime (figures in ADR 2). Only this module and `torch_backend` import torch in `models/`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def _standardise(pixels: Tensor) -> Tensor:
    """Scale each image to mean 0 and deviation 1, to remove brightness and contrast."""
    centred = pixels - pixels.mean(dim=(1, 2, 3), keepdim=True)
    variance = centred.square().mean(dim=(1, 2, 3), keepdim=True)
    return centred / (variance + 1.0).sqrt()  # 1.0: an image of one colour stays near 0


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., CVPR 2016).

    If the block halves the image, its shortcut averages before the 1x1 convolution, so that no
    pixel is dropped ("ResNet-D", He et al., CVPR 2019).
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _conv(inputs, outputs, stride=stride)
        self.second = _conv(outputs, outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True), *_conv(inputs, outputs, kernel=1)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] -> [n, outputs, h / stride, w / stride], rounded up."""
        y = torch.relu(self.first(x))
        return torch.relu(self.second(y) + self.shortcut(x))


class SmallCNN(nn.Module):
    """A residual classifier of square RGB images with a side of at least 32 px.

    Args:
        classes: Number of labels, the length of the logits.
        widths: Channels of each stage; every stage except the first halves the image.
        depths: Residual blocks of each stage; same length as `widths`.
        dropout: Share of the pooled features dropped in training, 0 .. 1.
    """

    def __init__(
        self,
        classes: int,
        widths: Sequence[int] = (32, 64, 128, 256),
        depths: Sequence[int] = (1, 1, 2, 1),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            _conv(3, widths[0] // 2, stride=2),
            nn.ReLU(),
            _conv(widths[0] // 2, widths[0], stride=2),
            nn.ReLU(),
        ]
        channels = widths[0]
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for block in range(depth):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(Residual(channels, width, stride))
                channels = width
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, classes)
        self._initialise()

    def _initialise(self) -> None:
        """He normal weights; each block starts as its shortcut (Goyal et al., 2017)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, Residual):
                nn.init.zeros_(module.second[1].weight)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits of a batch.

        Args:
            pixels: [n, 3, h, w], float32, RGB, 0 .. 255.

        Returns:
            [n, classes] float32 logits, before calibration.
        """
        x = self.features(_standardise(pixels))
        return self.head(self.dropout(x.mean(dim=(2, 3))))  # type: ignore[no-any-return]


class PixelsToLogits(nn.Module):
    """Wraps the network to take the input of all backends: uint8 pixels, channels last."""

    def __init__(self, network: SmallCNN) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [n, side, side, 3] -> float32 [n, classes]."""
        return self.network(pixels.permute(0, 3, 1, 2).float())  # type: ignore[no-any-return]
