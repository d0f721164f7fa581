"""Schema of the configurations in `training/configs/`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.card import Label
from models.strict_yaml import MAX_BYTES, parse_yaml
from models.validation import InvalidDocument, format_findings
from training.errors import TrainingError

Width = Annotated[int, Field(ge=2)]
Depth = Annotated[int, Field(ge=1)]


class Phase(BaseModel):
    """Consecutive epochs on images of one size. Small images first save most of the time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Annotated[int, Field(ge=1)]
    side: Annotated[int, Field(ge=32, le=160, multiple_of=16)]  # px


class Config(BaseModel):
    """Configuration of a training run. Unknown keys are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[str, Field(pattern=r"^v[0-9]+$")]
    labels: Annotated[tuple[Label, ...], Field(min_length=2)]  # in the order of the logits
    ignored_labels: tuple[Label, ...] = ()  # classes in the data that this version does not learn
    parent: str | None = None  # version to start from; its labels must come first
    seed: Annotated[int, Field(ge=0)] = 0

    widths: Annotated[tuple[Width, ...], Field(min_length=1)] = (32, 64, 128, 256)
    depths: Annotated[tuple[Depth, ...], Field(min_length=1)] = (1, 1, 2, 1)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    serving_side: Annotated[int, Field(ge=32, le=256)] = 112  # px, in evaluation and serving

    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    batch: Annotated[int, Field(ge=2)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3  # peak
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.05  # of all steps
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.05
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998  # of the averaged weights, per step

    # Classes are sampled in proportion to count ** balance: 1 keeps the imbalance, 0 removes it.
    balance: Annotated[float, Field(ge=0, le=1)] = 0.5
    synthetic_per_class: Annotated[int, Field(ge=0)] = 1000
    synthetic_share: Annotated[float, Field(ge=0, lt=1)] = (
        0.12  # of each epoch, next to photographs
    )
    photographs: bool = True  # False: train on synthetic images only
    images_per_epoch: Annotated[int, Field(ge=1)] | None = None  # None: size of the largest source

    @model_validator(mode="after")
    def _check_consistency(self) -> Config:
        if len(self.widths) != len(self.depths):
            raise ValueError(f"widths has {len(self.widths)} stages, depths {len(self.depths)}")
        if len({*self.labels, *self.ignored_labels}) < len(self.labels + self.ignored_labels):
            raise ValueError("a label occurs twice in labels and ignored_labels")
        if not self.photographs and self.synthetic_per_class == 0:
            raise ValueError(
                "photographs is false and synthetic_per_class is 0: there are no images to train on"
            )
        return self

    @property
    def effective_synthetic_share(self) -> float:
        """Share of synthetic images in each epoch, 0 .. 1."""
        if not self.photographs:
            return 1.0
        return self.synthetic_share if self.synthetic_per_class else 0.0

    @property
    def epochs(self) -> int:
        return sum(phase.epochs for phase in self.phases)

    def side_at(self, epoch: int) -> int:
        """Side of the training images, px, of an epoch counted from 0."""
        sides = [phase.side for phase in self.phases for _ in range(phase.epochs)]
        return sides[epoch]


def load(path: Path) -> Config:
    """Read a configuration from a YAML file.

    Raises:
        TrainingError: The file is missing, not YAML, or invalid.
    """
    try:
        with path.open("rb") as file:
            return Config.model_validate(parse_yaml(file.read(MAX_BYTES + 1)))
    except OSError as exc:
        raise TrainingError(f"cannot read the configuration {path}: {exc.strerror}") from exc
    except InvalidDocument as exc:
        raise TrainingError(f"{path}: {exc}") from exc
    except ValidationError as exc:
        raise TrainingError(f"{path}: {format_findings(exc, 'configuration', Config)}") from exc
