"""Initial weights of a version that starts from a parent."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.errors import TrainingError

HEAD = ("head.weight", "head.bias")


def grow_head(
    weights: dict[str, Tensor], parent_labels: Sequence[str], labels: Sequence[str]
) -> dict[str, Tensor]:
    """The parent's weights with one more row in the head per new label.

    The rows of the parent's labels do not change. A new row is their mean, with a bias 1 below the
    mean bias, so that the untrained child predicts the same labels as its parent.

    Args:
        weights: The parent's, by parameter name of `models.cnn.SmallCNN`.
        labels: The child's; they start with `parent_labels`, in the same order.

    Raises:
        TrainingError: The labels do not start with the parent's.
    """
    if tuple(labels[: len(parent_labels)]) != tuple(parent_labels):
        raise TrainingError(
            f"labels are {', '.join(labels)}; they must start with the parent's,"
            f" {', '.join(parent_labels)}"
        )
    added = len(labels) - len(parent_labels)
    weight, bias = (weights[name] for name in HEAD)  # [classes, channels], [classes]
    head = (
        torch.cat([weight, weight.mean(dim=0, keepdim=True).expand(added, -1)]),
        torch.cat([bias, (bias.mean() - 1).expand(added)]),
    )
    return {**weights, **dict(zip(HEAD, head, strict=True))}
