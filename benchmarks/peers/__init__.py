"""Alternatives for serving the same model, each with a good configuration.

All import `models`, so that preprocessing and network are the same code as in serve-app, and return
the JSON of `format_prediction`. See `benchmarks.systems`.
"""

from __future__ import annotations

from models.network import Floats

VERSION = "v1"  # as in deploy_configs/base.yaml


def format_prediction(labels: tuple[str, ...], probabilities: Floats) -> dict[str, object]:
    """The prediction for one image as JSON, from its row of probabilities."""
    best = int(probabilities.argmax())
    return {
        "label": labels[best],
        "confidence": float(probabilities[best]),
        "probabilities": dict(zip(labels, probabilities.tolist(), strict=True)),
    }
