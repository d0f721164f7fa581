"""The `args` of the data plane in a deployment file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from models import registry
from models.classifier import Backend


class AnimalsArgs(BaseModel):
    """The `args` of the application `animals`. A change of `args` restarts all replicas.

    Attributes:
        backend: The library that runs the networks.
        registry: The folder of the versions, as a path on the machines of the replicas.
    """

    model_config = ConfigDict(extra="forbid")

    backend: Backend = "onnx"
    registry: str = str(registry.SHIPPED)
