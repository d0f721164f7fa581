"""What a team would serve the same model with instead, each set up well; see `benchmarks.systems`.

All of them import `models`, so that the pixels and the network are the same code as in serve-app,
and answer an image with the JSON of `answer`.
"""

from __future__ import annotations

from models.network import Floats

VERSION = "v1"  # what deploy_configs/base.yaml serves


def answer(labels: tuple[str, ...], probabilities: Floats) -> dict[str, object]:
    """One image's answer, from its row of probabilities."""
    best = int(probabilities.argmax())
    return {
        "label": labels[best],
        "confidence": float(probabilities[best]),
        "probabilities": dict(zip(labels, probabilities.tolist(), strict=True)),
    }
