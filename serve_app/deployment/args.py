"""The `args` of the data plane in a deployment file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from models import registry
from models.classifier import Backend


class AnimalsArgs(BaseModel):
    """A change of one replaces every replica.

    Attributes:
        backend: What runs the networks.
        registry: Folder of the versions, seen from the replicas.
    """

    model_config = ConfigDict(extra="forbid")

    backend: Backend = "onnx"
    registry: str = str(registry.SHIPPED)
