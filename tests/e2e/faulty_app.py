"""A data plane whose candidates obey `faults`."""

from __future__ import annotations

import asyncio
from typing import Any

from ray.serve import Application

from models.preprocess import Pixels
from serve_app.data_plane.pools import Reply
from serve_app.domain import Pool
from serve_app.home import open_home
from serve_app.serving.app import AnimalsArgs, data_plane
from serve_app.serving.classifier import Classifier
from tests.e2e import faults


class Faulty(Classifier):
    """Its candidates read what is wrong with them before each answer."""

    async def classify(self, pixels: Pixels) -> Reply:
        if self._context.deployment == Pool.CANDIDATE:
            match faults.read(open_home().path):
                case faults.SLOW:
                    await asyncio.sleep(faults.SLOW_S)
                case faults.BROKEN:
                    raise RuntimeError("the candidate is broken")
        return await super().classify(pixels)


def animals(args: dict[str, Any]) -> Application:
    """What the deployment file of the tests imports."""
    return data_plane(AnimalsArgs.model_validate(args), Faulty)
