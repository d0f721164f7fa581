"""One training run: what a configuration and a data folder lead to."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from models.drawings import LABELS as DRAWN_LABELS
from models.samples import Sample, from_drawings, from_folder
from training.checkpoint import EpochRecord
from training.config import Config
from training.data import Pictures, load_drawings, load_photographs, refuse_unknown_classes
from training.errors import TrainingError
from training.fit import fit

# Seeds of the drawings: those of training never meet the others.
TRAINING_SEED = 1_000_000
VALIDATION_SEEDS = range(2_000_000, 2_000_150)
TEST_SEEDS = range(3_000_000, 3_000_200)


def train(
    config: Config, data: Path | None, folder: Path, start: dict[str, Tensor] | None
) -> list[EpochRecord]:
    """Train, or go on with, the run in `folder`.

    Args:
        data: Holds `train/` and `val/`, each with a folder per class; None for drawings alone.
        start: Weights to start from; None: random ones.

    Raises:
        BadData, TrainingError: The data cannot be used; the text says why.
    """
    if config.photographs and data is None:
        raise TrainingError("this configuration learns from photographs: name their folder")
    if data is not None:
        for part in ("train", "val"):
            refuse_unknown_classes(data / part, (*config.labels, *config.ignored_labels))
    validation = _validation(config, data)
    return fit(config, _sources(config, data), validation, start, folder)


def validation_drawings(config: Config) -> Sample:
    """The drawings that a run is looked at with, and calibrated on."""
    return from_drawings(_drawn(config), VALIDATION_SEEDS, config.serving_side)


def _validation(config: Config, data: Path | None) -> dict[str, Sample]:
    samples: dict[str, Sample] = {}
    if data is not None:
        samples["photographs"] = from_folder(data / "val", config.labels, config.serving_side)
    if config.drawings_per_class:
        samples["drawings"] = validation_drawings(config)
    return samples


def _sources(config: Config, data: Path | None) -> list[tuple[Pictures, float]]:
    sources: list[tuple[Pictures, float]] = []
    drawings_share = config.drawings_share if config.drawings_per_class else 0.0
    if config.photographs and data is not None:
        sources.append((load_photographs(data / "train", config.labels), 1 - drawings_share))
    else:
        drawings_share = 1.0
    if drawings_share:
        drawings = load_drawings(_drawn(config), config.drawings_per_class, TRAINING_SEED)
        sources.append((drawings, drawings_share))
    return sources


def _drawn(config: Config) -> tuple[str, ...]:
    unknown = [label for label in config.labels if label not in DRAWN_LABELS]
    if unknown:
        raise TrainingError(
            f"nobody can draw {', '.join(unknown)}: set drawings_per_class to 0,"
            f" or use labels among {', '.join(DRAWN_LABELS)}"
        )
    return config.labels
