"""The classification extension: the most probable labels instead of all probabilities.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md
"""

from __future__ import annotations

import numpy as np

from models.network import Floats


def classify(probabilities: Floats, labels: tuple[str, ...], count: int) -> list[list[str]]:
    """The most probable labels of each image, the most probable first.

    Args:
        probabilities: float32 [images, labels].
        count: Of labels per image, at least 1; all labels if there are fewer.

    Returns:
        For each image, texts `value:index:label`, the value with six decimals.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    return [
        [f"{row[index]:.6f}:{index}:{labels[index]}" for index in best]
        for row, best in zip(probabilities, order, strict=True)
    ]
