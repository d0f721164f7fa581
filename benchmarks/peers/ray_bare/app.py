"""Bare Ray Serve with a fast configuration: the same deployment graph as serve-app.

A FastAPI ingress decodes in a thread and makes one handle call per request; the model runs in a
thread of its replica. Each deployment has two replicas, as serve-app under load. HAProxy and gRPC
are enabled by environment variables.
"""

import asyncio
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from ray import serve
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig

from benchmarks.peers import VERSION, format_prediction
from models import classifier
from models.network import Floats
from models.preprocess import Pixels, to_pixels

SETTINGS: dict[str, Any] = {
    "num_replicas": 2,
    "max_ongoing_requests": 100,
    "ray_actor_options": {"num_cpus": 0.1},
    "logging_config": LoggingConfig(enable_access_log=False),
}
api = FastAPI()


@serve.deployment(**SETTINGS)
class Model:
    def __init__(self) -> None:
        self.model = classifier.load(VERSION)

    async def probabilities(self, pixels: Pixels) -> Floats:
        rows: Floats = await asyncio.to_thread(self.model.probabilities, pixels[None])
        return np.ravel(rows)


@serve.deployment(**SETTINGS)
@serve.ingress(api)
class Ingress:
    def __init__(self, model: DeploymentHandle[Any]) -> None:
        self.model = model
        self.card = classifier.load(VERSION).card

    @api.post("/v1/classify")
    async def classify(self, request: Request) -> dict[str, object]:
        data = await request.body()
        pixels = await asyncio.to_thread(to_pixels, data, self.card.input.side)
        return format_prediction(self.card.labels, await self.model.probabilities.remote(pixels))


app = Ingress.bind(Model.bind())  # type: ignore[attr-defined]
