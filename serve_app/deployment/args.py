"""The `args` of the data plane in a deployment file."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from models import registry
from models.classifier import Backend
from serve_app.deployment.origins import Origin
from serve_app.privacy.illegal_ids import ILLEGAL_IDS


class AnimalsArgs(BaseModel):
    """The `args` of the application `animals`. A change of `args` restarts all replicas.

    Attributes:
        backend: The library that runs the networks.
        registry: The folder of the versions, as a path on the machines of the replicas.
        cors_origins: The origins of web pages that may call the data plane; `*` stands for all.
        illegal_ids: Placeholders for a missing user or session id, which are no unit of a split.
            Case, blanks and punctuation do not matter.
    """

    model_config = ConfigDict(extra="forbid")

    backend: Backend = "onnx"
    registry: str = str(registry.SHIPPED)
    cors_origins: list[Origin] = []
    illegal_ids: list[Annotated[str, Field(max_length=200)]] = list(ILLEGAL_IDS)
