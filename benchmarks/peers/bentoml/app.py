"""BentoML with ONNX Runtime and adaptive batching, two workers.

A batchable API takes a list, so the client sends the image as a file of a form. The target latency
is far above the time of a batch, because BentoML cancels requests near it (503).
"""

from pathlib import Path

import bentoml  # type: ignore[import-not-found]
import numpy as np

from benchmarks.peers import VERSION, format_prediction
from models import classifier
from models.preprocess import to_pixels


@bentoml.service(
    workers=2,
    traffic={"timeout": 60},
    logging={"access": {"enabled": False}},
)
class Animals:
    def __init__(self) -> None:
        self.model = classifier.load(VERSION)

    @bentoml.api(  # type: ignore[untyped-decorator]
        route="/v1/classify", batchable=True, max_batch_size=16, max_latency_ms=10_000
    )
    def classify(self, images: list[Path]) -> list[dict[str, object]]:
        card = self.model.card
        pixels = np.stack([to_pixels(image.read_bytes(), card.input.side) for image in images])
        return [format_prediction(card.labels, row) for row in self.model.probabilities(pixels)]
