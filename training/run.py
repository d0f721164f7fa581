"""One training run: what a configuration, a data folder and a parent lead to."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from models.card import Parent
from models.drawings import LABELS as DRAWN_LABELS
from models.registry import Version
from models.samples import Sample, from_drawings, from_folder
from models.torch_backend import weights
from training.checkpoint import EpochRecord
from training.config import Config
from training.data import Pictures, load_drawings, load_photographs, refuse_unknown_classes
from training.errors import TrainingError
from training.fit import fit
from training.lineage import grown
from training.origin import origin

# Seeds of the drawings: those of training never meet the others.
TRAINING_SEED = 1_000_000
VALIDATION_SEEDS = range(2_000_000, 2_000_150)
TEST_SEEDS = range(3_000_000, 3_000_200)


def train(
    config: Config, data: Path | None, folder: Path, parent: Version | None
) -> list[EpochRecord]:
    """Train, or go on with, the run in `folder`.

    Args:
        data: Holds `train/`, `val/` and `test/`, each with a folder per class; None for a
            configuration that learns from drawings alone.
        parent: The version that the configuration names as its parent.

    Raises:
        BadData, TrainingError: The data, the parent or the checkpoint cannot be used.
    """
    data = photographs_folder(config, data)
    if data is not None:
        for part in ("train", "val", "test"):
            refuse_unknown_classes(data / part, (*config.labels, *config.ignored_labels))
    lineage = Parent(version=parent.card.version, digest=parent.card.digest) if parent else None
    source = origin(data / "train" if data else None, config.labels, lineage)
    start = _start(config, parent) if parent else None
    return fit(config, source, _sources(config, data), _validation(config, data), start, folder)


def photographs_folder(config: Config, data: Path | None) -> Path | None:
    """The folder of photographs that a configuration learns from; None where it needs none.

    Raises:
        TrainingError: It needs one and `data` is None.
    """
    if not config.photographs:
        return None
    if data is None:
        raise TrainingError(
            f"{config.version} learns from photographs: name their folder with --data"
        )
    return data


def drawn_labels(config: Config) -> tuple[str, ...]:
    """The labels of a configuration, all of which must be known to `models.drawings`."""
    unknown = [label for label in config.labels if label not in DRAWN_LABELS]
    if unknown:
        raise TrainingError(
            f"nobody can draw {', '.join(unknown)}: set drawings_per_class to 0,"
            f" or use labels among {', '.join(DRAWN_LABELS)}"
        )
    return config.labels


def _start(config: Config, parent: Version) -> dict[str, Tensor]:
    ours, theirs = (config.widths, config.depths), parent.card.architecture
    if ours != (theirs.widths, theirs.depths):
        raise TrainingError(
            f"{parent.card.version} has widths {theirs.widths} and depths {theirs.depths}, the"
            f" configuration {ours[0]} and {ours[1]}: a child has its parent's network"
        )
    return grown(weights(parent), parent.card.labels, config.labels)


def _validation(config: Config, data: Path | None) -> dict[str, Sample]:
    samples: dict[str, Sample] = {}
    if data is not None:
        samples["photographs"] = from_folder(data / "val", config.labels, config.serving_side)
    if config.drawn_share:
        samples["drawings"] = from_drawings(
            drawn_labels(config), VALIDATION_SEEDS, config.serving_side
        )
    return samples


def _sources(config: Config, data: Path | None) -> list[tuple[Pictures, float]]:
    sources: list[tuple[Pictures, float]] = []
    if data is not None:
        photographs = load_photographs(data / "train", config.labels)
        sources.append((photographs, 1 - config.drawn_share))
    if config.drawn_share:
        drawings = load_drawings(drawn_labels(config), config.drawings_per_class, TRAINING_SEED)
        sources.append((drawings, config.drawn_share))
    return sources
