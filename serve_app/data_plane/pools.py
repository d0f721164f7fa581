"""The interface between the data plane and the pools of replicas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from models.network import Floats
from models.preprocess import Pixels
from serve_app.rules.plan import Pool

LATE_S = 0.5  # a response that takes longer may never come: the replica may be frozen or lost


@dataclass(frozen=True, slots=True)
class Prediction:
    """The output of a version for some images.

    Attributes:
        probabilities: float32 [images, labels].
        model_ms: The network's time for the whole batch.
    """

    version: str
    labels: tuple[str, ...]
    probabilities: Floats
    model_ms: float

    def top_label(self, image: int) -> tuple[str, float]:
        """The most probable label of an image, and its probability."""
        column = int(self.probabilities[image].argmax())
        return self.labels[column], float(self.probabilities[image, column])

    def slice(self, start: int, stop: int) -> Prediction:
        """The prediction for images start to stop."""
        return Prediction(self.version, self.labels, self.probabilities[start:stop], self.model_ms)


@dataclass(frozen=True, slots=True)
class WrongInputSize:
    """The replica's version takes images of another size, `side` px."""

    version: str
    side: int


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The replica has no version that can predict; `message` is for people."""

    message: str


PoolResponse = Prediction | WrongInputSize | Unavailable


@dataclass(frozen=True, slots=True)
class Replica:
    """The state of one replica of a pool, as the replica describes it.

    Attributes:
        version: The version that it is assigned; None if it could not load any.
        warm: The versions that it has loaded, the assigned one included.
        config_digest: Of the last `user_config`, accepted or rejected; see `serve_app.digest`.
        rejected: The path and the message of the last `user_config`, if it was rejected.
        libraries: Name to version of the libraries that run its networks.
        answered: Version to the number of images that it has classified with it.
    """

    pool: Pool
    replica: str
    version: str | None
    warm: tuple[str, ...]
    config_digest: str
    rejected: dict[str, str] | None
    backend: str
    libraries: dict[str, str]
    answered: dict[str, int]


class Pools(Protocol):
    """The pools of one application."""

    async def classify(self, pool: Pool, version: str | None, pixels: Pixels) -> PoolResponse:
        """Classify uint8 [n, side, side, 3] on a replica of a pool.

        Args:
            version: The version that must predict; None for the one that the replica is assigned.

        Raises:
            Busy: The queue of the pool is full.
            TooSlow: No response in time.
            NotReady: The pool cannot be reached.
        """
        ...

    async def replicas(self, pool: Pool | None = None) -> list[Replica]:
        """The replicas of a pool, or of all pools, that respond in time."""
        ...
