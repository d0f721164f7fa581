"""Mosec with ONNX Runtime: an HTTP server in Rust and two Python processes that decode and predict
batches of up to 16 images.

An incomplete batch waits for 1 ms, the minimum in Mosec and the fastest value tried.
"""

from __future__ import annotations

import json

import numpy as np
from mosec import Server, Worker  # type: ignore[import-not-found]
from mosec.runtime import Runtime  # type: ignore[import-not-found]

from benchmarks.peers import VERSION, format_prediction
from models import classifier
from models.preprocess import to_pixels

Predictions = list[dict[str, object]]


class Animals(Worker):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.model = classifier.load(VERSION)

    def deserialize(self, data: bytes) -> bytes:
        return data

    def serialize(self, data: dict[str, object]) -> bytes:
        return json.dumps(data).encode()

    def forward(self, data: list[bytes]) -> Predictions:
        card = self.model.card
        pixels = np.stack([to_pixels(image, card.input.side) for image in data])
        return [format_prediction(card.labels, row) for row in self.model.probabilities(pixels)]


if __name__ == "__main__":
    server = Server()
    animals = Runtime(Animals, num=2, max_batch_size=16, max_wait_time=1)
    server.register_runtime({"/v1/classify": [animals]})
    server.run()
