"""MLServer, the Python server of the Open Inference Protocol, with ONNX Runtime and two workers.

Its REST API accepts only JSON, so the image is sent as base64. Adaptive batching waits for at most
1 ms.
"""

from __future__ import annotations

import numpy as np
from mlserver import MLModel  # type: ignore[import-not-found]
from mlserver.codecs import Base64Codec, StringCodec  # type: ignore[import-not-found]
from mlserver.types import (  # type: ignore[import-not-found]
    InferenceRequest,
    InferenceResponse,
)

from benchmarks.peers import VERSION
from models import classifier
from models.preprocess import to_pixels


class Animals(MLModel):  # type: ignore[misc]
    async def load(self) -> bool:
        self.model = classifier.load(VERSION)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        card = self.model.card
        images = Base64Codec.decode_input(payload.inputs[0])
        pixels = np.stack([to_pixels(image, card.input.side) for image in images])
        best = self.model.probabilities(pixels).argmax(axis=1)
        labels = StringCodec.encode_output("label", [card.labels[index] for index in best])
        return InferenceResponse(model_name=self.name, outputs=[labels])
