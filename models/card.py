"""A version's card: what it is, how well it does on which data, and the digests of its files.

The card seals itself. Its text is the canonical JSON of its fields, and `digest` is the SHA-256
of that text without `digest`; so any changed byte of it shows, as any changed byte of the other
files shows in `files`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models import preprocess
from models.validation import sentence

FILE = "card.json"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]*$")]
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Architecture(_Part):
    """Arguments of `models.cnn.SmallCNN`."""

    network: Literal["SmallCNN"] = "SmallCNN"
    widths: tuple[int, ...]
    depths: tuple[int, ...]


class Parent(_Part):
    """The version whose weights training started from."""

    version: str
    digest: Sha256  # of its card


class Input(_Part):
    """What the network takes: uint8 RGB [n, side, side, 3] from `models.preprocess`."""

    side: Annotated[int, Field(ge=32, le=1024)]  # px
    preprocessing: Literal["square-crop/v1"] = preprocess.NAME


class Calibration(_Part):
    """Probabilities are the softmax of logits / temperature + biases, a bias a label.

    Bias-corrected temperature scaling (Alexandari, Kundaje and Shrikumar, ICML 2020).
    """

    temperature: Annotated[float, Field(gt=0)]
    biases: tuple[float, ...]  # in the order of the labels
    data: str  # what it was fitted on


class LabelScore(_Part):
    """One label's share of the metrics; recall with its 95 % Wilson interval."""

    images: int
    recall: Share | None  # None: there was no image of the label
    recall_interval: tuple[Share, Share]
    precision: Share | None  # None: the label was never given
    f1: Share


class ForeignLabel(_Part):
    """How a version answers images of a label that it does not know: always wrong."""

    images: int
    answers: dict[str, int]  # how often it gave each of its own labels
    mean_confidence: Share


class Metrics(_Part):
    """What a version answered on named data; `models.evaluation` computes it.

    Attributes:
        images: Those of labels that the version knows; all figures but `foreign` are of them.
        accuracy_interval: 95 % Wilson interval.
        calibration_error: Expected calibration error, 15 bins of equal width.
        confusion: [truth][answer], in the order of the card's labels.
        foreign: By label that the version does not know.
    """

    data: str
    images: int
    accuracy: Share
    accuracy_interval: tuple[Share, Share]
    macro_f1: Share
    calibration_error: Share
    mean_confidence: Share
    labels: dict[str, LabelScore]
    confusion: tuple[tuple[int, ...], ...]
    foreign: dict[str, ForeignLabel] = {}


class Training(_Part):
    """How to train the version again, and on what it was trained."""

    command: str
    date: str  # ISO 8601, of the day it was published
    seed: int
    epochs: int
    images: dict[str, int]  # photographs by label
    balance: Share  # a class was drawn in proportion to its size to the power of this
    synthetic_share: Share  # of every epoch's images
    libraries: dict[str, str]  # name -> version
    notice: str  # whose the training data is, and what follows


class Card(_Part):
    """Everything that is said of a version. `files` maps name to SHA-256, all but the card's."""

    format: Literal[1] = 1
    version: Annotated[str, Field(pattern=r"^v[0-9]+$")]
    labels: Annotated[tuple[Label, ...], Field(min_length=2)]  # their order is the logits' order
    parent: Parent | None
    architecture: Architecture
    input: Input
    calibration: Calibration
    metrics: tuple[Metrics, ...]
    training: Training
    files: dict[FileName, Sha256]
    digest: str = ""

    @model_validator(mode="after")
    def _labels_fit(self) -> Self:
        if len(self.calibration.biases) != len(self.labels):
            raise ValueError(
                f"{len(self.calibration.biases)} calibration biases for {len(self.labels)} labels"
            )
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels repeat: {', '.join(self.labels)}")
        return self

    def with_digest(self) -> Card:
        """The same card with the digest of its own content."""
        return self.model_copy(update={"digest": self._content_digest()})

    def text(self) -> str:
        """The canonical JSON of the card, as it stands in the file."""
        return _canonical(self.model_dump(mode="json"))

    def _content_digest(self) -> str:
        content = self.model_dump(mode="json", exclude={"digest"})
        return hashlib.sha256(_canonical(content).encode()).hexdigest()


def parse(data: bytes) -> Card:
    """Read a card's file.

    Raises:
        ValueError: It is no card, or differs from what it was when it was sealed.
    """
    try:
        card = Card.model_validate_json(data)
    except ValidationError as exc:
        raise ValueError(sentence(exc, "JSON")) from exc
    if card.with_digest().text().encode() != data:
        raise ValueError("its content does not fit its digest: it was changed after publication")
    return card


def _canonical(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
