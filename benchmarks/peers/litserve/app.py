"""LitServe with ONNX Runtime: two workers that decode and predict in batches, connected by ZeroMQ
to two API servers, as LitServe recommends above 100 requests per second.

LitServe parses bodies as JSON or forms; the dependency passes the raw bytes instead.
"""

# No postponed annotations: LitServe evaluates the annotation of `request`.
from typing import Annotated

import litserve  # type: ignore[import-not-found]
import numpy as np
from fastapi import Depends, Request

from benchmarks.peers import VERSION, format_prediction
from models import classifier
from models.network import Floats
from models.preprocess import Pixels, to_pixels

PORT = 8102


async def body(request: Request) -> bytes:
    return await request.body()


class Api(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:  # noqa: ARG002
        self.model = classifier.load(VERSION)

    def decode_request(self, request: Annotated[bytes, Depends(body)]) -> Pixels:
        return to_pixels(request, self.model.card.input.side)

    def batch(self, inputs: list[Pixels]) -> Pixels:
        return np.stack(inputs)

    def predict(self, pixels: Pixels) -> Floats:
        return self.model.probabilities(pixels)

    def unbatch(self, output: Floats) -> list[Floats]:
        return list(output)

    def encode_response(self, output: Floats) -> dict[str, object]:
        return format_prediction(self.model.card.labels, output)


if __name__ == "__main__":
    # A batch always waits for the whole timeout; without a timeout the workers busy-wait.
    api = Api(api_path="/v1/classify", max_batch_size=16, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=PORT,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
