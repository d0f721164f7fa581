"""Growing a version's head: what a child takes over from its parent."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.errors import TrainingError

HEAD = ("head.weight", "head.bias")


def grown(
    weights: dict[str, Tensor], parent_labels: Sequence[str], labels: Sequence[str]
) -> dict[str, Tensor]:
    """The parent's weights with one more row in the head for every new label.

    The rows of the parent's labels are carried over unchanged. A new row is their mean with the
    parent's bias lowered by 1, so that the child begins by answering as its parent did.

    Args:
        weights: Tensors by their names in `models.cnn.SmallCNN`.
        labels: The child's; they begin with the parent's, in the same order.

    Raises:
        TrainingError: The labels do not begin with the parent's.
    """
    if tuple(labels[: len(parent_labels)]) != tuple(parent_labels):
        raise TrainingError(
            f"labels are {', '.join(labels)}; they must begin with the parent's,"
            f" {', '.join(parent_labels)}"
        )
    added = len(labels) - len(parent_labels)
    weight, bias = (weights[name] for name in HEAD)  # [classes, channels], [classes]
    head = (
        torch.cat([weight, weight.mean(dim=0, keepdim=True).expand(added, -1)]),
        torch.cat([bias, (bias.mean() - 1).expand(added)]),
    )
    return {**weights, **dict(zip(HEAD, head, strict=True))}
