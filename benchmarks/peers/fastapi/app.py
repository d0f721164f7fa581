"""FastAPI and uvicorn with ONNX Runtime; one process per worker.

The work runs in a thread. Without it, a request costs a tenth less CPU and one client is faster,
but throughput with 32 clients is lower, and a busy worker accepts no connection or health check.
"""

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool

from benchmarks.peers import VERSION, format_prediction
from models import classifier
from models.preprocess import to_pixels

app = FastAPI()
model = classifier.load(VERSION)


@app.post("/v1/classify")
async def classify(request: Request) -> dict[str, object]:
    return await run_in_threadpool(_classify, await request.body())


def _classify(data: bytes) -> dict[str, object]:
    pixels = to_pixels(data, model.card.input.side)
    return format_prediction(model.card.labels, model.probabilities(pixels[None])[0])
