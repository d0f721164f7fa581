"""A data plane whose candidates have the faults of `tests.e2e.faults`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from ray.serve import Application

from models.preprocess import Pixels
from serve_app.data_plane.pools import PoolResponse, Prediction
from serve_app.deployment.args import AnimalsArgs
from serve_app.home import open_home
from serve_app.rules.plan import Pool
from serve_app.serving.app import data_plane
from serve_app.serving.classifier import Classifier
from tests.e2e import faults


class FaultyClassifier(Classifier):
    """Candidate replicas apply the current fault before each prediction."""

    async def classify(self, pixels: Pixels) -> PoolResponse:
        if self._context.deployment == Pool.CANDIDATE:
            match faults.read(open_home().path):
                case faults.SLOW:
                    await asyncio.sleep(faults.SLOW_S)
                case faults.SLOWER:
                    return await self._classify_slower(pixels)
                case faults.BROKEN:
                    raise RuntimeError("the candidate is broken")
        return await super().classify(pixels)

    async def _classify_slower(self, pixels: Pixels) -> PoolResponse:
        """Simulate a slower network by a fixed delay per call."""
        result = await super().classify(pixels)
        if not isinstance(result, Prediction):
            return result
        await asyncio.sleep(faults.SLOWER_MS / 1000)
        return replace(result, model_ms=result.model_ms + faults.SLOWER_MS)


def animals(args: dict[str, Any]) -> Application:
    """The application that the deployment file of the tests imports."""
    return data_plane(AnimalsArgs.model_validate(args), FaultyClassifier)
