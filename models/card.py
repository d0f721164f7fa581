"""A version's card: description, metrics and the checksums of its files.

The file is the canonical JSON of the card's fields. `digest` is the SHA-256 of that text without
`digest`, and `files` holds the SHA-256 of every other file, so any changed byte is detected.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models import preprocess
from models.validation import format_findings

FILE = "card.json"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]*$")]
Share = Annotated[float, Field(ge=0, le=1)]
MAX_SLOW_MS = 60_000.0


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
    """Network input: uint8 RGB [n, side, side, 3], made by `models.preprocess`."""

    side: Annotated[int, Field(ge=32, le=1024)]  # px
    preprocessing: Literal["square-crop/v1"] = preprocess.PREPROCESSING


class Calibration(_Part):
    """Probabilities are the softmax of logits / temperature + biases, with one bias per label.

    Bias-corrected temperature scaling (Alexandari, Kundaje and Shrikumar, ICML 2020).
    """

    temperature: Annotated[float, Field(gt=0)]
    biases: tuple[float, ...]  # in the order of the labels
    data: str  # that it was fitted on


class LabelScore(_Part):
    """Metrics of one label; recall has a 95 % Wilson interval."""

    images: int
    recall: Share | None  # None: the data has no image of the label
    recall_interval: tuple[Share, Share]
    precision: Share | None  # None: the label was never predicted
    f1: Share


class ForeignLabel(_Part):
    """Predictions for images of a label that the version does not know; all are wrong."""

    images: int
    answers: dict[str, int]  # predictions by label of the version
    mean_confidence: Share


class Metrics(_Part):
    """Metrics of a version on the data named `data`; computed by `models.evaluation`.

    Attributes:
        images: Images of labels that the version knows. All figures except `foreign` use these.
        accuracy_interval: 95 % Wilson interval.
        calibration_error: Expected calibration error, 15 bins of equal width.
        confusion: Counts [truth][prediction], in the order of the card's labels.
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
    """Training command, data and settings of the version."""

    command: str
    date: str  # of publication, ISO 8601
    seed: int
    epochs: int
    images: dict[str, int]  # photographs by label
    balance: Share  # classes are sampled in proportion to size ** balance
    synthetic_share: Share  # of every epoch's images
    libraries: dict[str, str]  # name -> version
    notice: str  # origin and licence of the training data


class Faults(_Part):
    """What a test version does wrong on purpose, so that a failing candidate can be shown.

    Attributes:
        slow_ms: Added to the time of each call, in milliseconds.
        fail: The probability that a call fails.
        wrong: The share of the images, chosen by their pixels, that get a wrong label.
        load_fails: It cannot be loaded.
    """

    slow_ms: Annotated[float, Field(ge=0, le=MAX_SLOW_MS)] = 0.0
    fail: Share = 0.0
    wrong: Share = 0.0
    load_fails: bool = False

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        if not (self.slow_ms or self.fail or self.wrong or self.load_fails):
            raise ValueError("a test version needs a fault: set slow_ms, fail, wrong or load_fails")
        return self

    def sentence(self) -> str:
        """The faults in words."""
        found = [
            f"{self.slow_ms:g} ms slower" if self.slow_ms else "",
            f"{100 * self.fail:g} % of its calls fail" if self.fail else "",
            f"{100 * self.wrong:g} % of its labels are wrong" if self.wrong else "",
            "it cannot be loaded" if self.load_fails else "",
        ]
        return ", ".join(part for part in found if part)


class Card(_Part):
    """Description of a version. `files` maps file names, except the card's, to their SHA-256.

    Attributes:
        faults: Of a test version; None for all others, whose files have no such key.
    """

    format: Literal[1] = 1
    version: Annotated[str, Field(pattern=r"^v[0-9]+$")]
    labels: Annotated[tuple[Label, ...], Field(min_length=2)]  # in the order of the logits
    parent: Parent | None
    architecture: Architecture
    input: Input
    calibration: Calibration
    metrics: tuple[Metrics, ...]
    training: Training
    files: dict[FileName, Sha256]
    faults: Faults | None = None
    digest: str = ""

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if len(self.calibration.biases) != len(self.labels):
            raise ValueError(
                f"{len(self.calibration.biases)} calibration biases for {len(self.labels)} labels"
            )
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels repeat: {', '.join(self.labels)}")
        return self

    def with_digest(self) -> Card:
        """A copy of the card with the digest of its content."""
        return self.model_copy(update={"digest": self._content_digest()})

    def text(self) -> str:
        """The canonical JSON of the card, as written to the file."""
        return _canonical(self._content())

    def _content_digest(self) -> str:
        content = self._content()
        del content["digest"]
        return hashlib.sha256(_canonical(content).encode()).hexdigest()

    def _content(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude=None if self.faults else {"faults"})


def parse(data: bytes) -> Card:
    """Parse the content of a card file.

    Raises:
        ValueError: The content is not a card, or does not match its digest.
    """
    try:
        card = Card.model_validate_json(data)
    except ValidationError as exc:
        raise ValueError(format_findings(exc, "JSON", Card)) from exc
    if card.with_digest().text().encode() != data:
        raise ValueError("its content does not match its digest: it was changed after publication")
    return card


def _canonical(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
