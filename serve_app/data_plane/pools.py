"""What the data plane asks of the pools of replicas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from models.network import Floats
from models.preprocess import Pixels
from serve_app.domain import Pool

LATE_S = 0.5  # of a reply: after as long its replica may be frozen or gone, and it may never come


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a version said of some images.

    Attributes:
        probabilities: float32 [images, labels].
        model_ms: The network's time for the whole call.
    """

    version: str
    labels: tuple[str, ...]
    probabilities: Floats
    model_ms: float

    def best(self, image: int) -> tuple[str, float]:
        """The most probable label of an image, and its probability."""
        place = int(self.probabilities[image].argmax())
        return self.labels[place], float(self.probabilities[image, place])

    def part(self, start: int, stop: int) -> Prediction:
        """The answer to images start to stop of the call."""
        return Prediction(self.version, self.labels, self.probabilities[start:stop], self.model_ms)


@dataclass(frozen=True, slots=True)
class WrongInputSize:
    """The replica's version takes images of another size, `side` px."""

    version: str
    side: int


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The replica holds no version that can answer; `why` is for people."""

    why: str


PoolResponse = Prediction | WrongInputSize | Unavailable


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica of a pool, by its own account.

    Attributes:
        version: What it is assigned; None if nothing could be loaded yet.
        warm: The versions that it holds, the assigned among them.
        rejected: The last configuration that it rejected: path and message.
        libraries: Name to version, of what runs its networks.
        answered: Version to how many images it has classified with it.
    """

    pool: Pool
    replica: str
    version: str | None
    warm: tuple[str, ...]
    rejected: dict[str, str] | None
    backend: str
    libraries: dict[str, str]
    answered: dict[str, int]


class Pools(Protocol):
    """The pools of one application."""

    async def classify(self, pool: Pool, version: str | None, pixels: Pixels) -> PoolResponse:
        """Ask a pool about uint8 [n, side, side, 3].

        Args:
            version: The version that shall answer; None for the one a replica is assigned.

        Raises:
            Busy: Too many images wait.
            TooSlow: No reply in time.
            NotReady: The pool cannot be reached.
        """
        ...

    async def replicas(self, pool: Pool | None = None) -> list[Replica]:
        """Every replica that answers in time, of a pool or of all."""
        ...
