"""A training run from a configuration, a data folder and a parent."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from models.card import Parent
from models.registry import Version
from models.samples import Sample, read_folder, synthesize_sample
from models.synthetic import LABELS as SYNTHETIC_LABELS
from models.torch_backend import load_weights
from training.checkpoint import EpochRecord
from training.config import Config
from training.data import Images, load_photographs, load_synthetic, reject_unknown_classes
from training.errors import TrainingError
from training.fit import fit
from training.lineage import grow_head
from training.origin import describe_origin

# Seeds of the synthetic images; training, validation and test use disjoint ranges.
TRAINING_SEED = 1_000_000
VALIDATION_SEEDS = range(2_000_000, 2_000_150)
TEST_SEEDS = range(3_000_000, 3_000_200)


def train(
    config: Config, data: Path | None, folder: Path, parent: Version | None
) -> list[EpochRecord]:
    """Train the run in `folder`, or resume it.

    Args:
        data: Folder with `train/`, `val/` and `test/`, each with a folder per class; None if the
            configuration uses synthetic images only.
        parent: The version named by `config.parent`.

    Raises:
        BadData, TrainingError: The data, the parent or the checkpoint cannot be used.
    """
    data = photographs_folder(config, data)
    if data is not None:
        for part in ("train", "val", "test"):
            reject_unknown_classes(data / part, (*config.labels, *config.ignored_labels))
    lineage = Parent(version=parent.card.version, digest=parent.card.digest) if parent else None
    origin = describe_origin(data / "train" if data else None, config.labels, lineage)
    start = _initial_weights(config, parent) if parent else None
    return fit(
        config, origin, _load_sources(config, data), _load_validation(config, data), start, folder
    )


def photographs_folder(config: Config, data: Path | None) -> Path | None:
    """The folder of photographs for a configuration; None if it uses none.

    Raises:
        TrainingError: The configuration uses photographs and `data` is None.
    """
    if not config.photographs:
        return None
    if data is None:
        raise TrainingError(
            f"{config.version} is trained on photographs: pass their folder with --data"
        )
    return data


def synthetic_labels(config: Config) -> tuple[str, ...]:
    """The labels of a configuration for synthetic images.

    Raises:
        TrainingError: `models.synthetic` does not know a label.
    """
    unknown = [label for label in config.labels if label not in SYNTHETIC_LABELS]
    if unknown:
        raise TrainingError(
            f"cannot synthesize {', '.join(unknown)}: set synthetic_per_class to 0,"
            f" or use the labels {', '.join(SYNTHETIC_LABELS)}"
        )
    return config.labels


def _initial_weights(config: Config, parent: Version) -> dict[str, Tensor]:
    ours, theirs = (config.widths, config.depths), parent.card.architecture
    if ours != (theirs.widths, theirs.depths):
        raise TrainingError(
            f"{parent.card.version} has widths {theirs.widths} and depths {theirs.depths}, the"
            f" configuration {ours[0]} and {ours[1]}: a child must have its parent's network"
        )
    return grow_head(load_weights(parent), parent.card.labels, config.labels)


def _load_validation(config: Config, data: Path | None) -> dict[str, Sample]:
    samples: dict[str, Sample] = {}
    if data is not None:
        samples["photographs"] = read_folder(data / "val", config.labels, config.serving_side)
    if config.effective_synthetic_share:
        samples["synthetic"] = synthesize_sample(
            synthetic_labels(config), VALIDATION_SEEDS, config.serving_side
        )
    return samples


def _load_sources(config: Config, data: Path | None) -> list[tuple[Images, float]]:
    sources: list[tuple[Images, float]] = []
    if data is not None:
        photographs = load_photographs(data / "train", config.labels)
        sources.append((photographs, 1 - config.effective_synthetic_share))
    if config.effective_synthetic_share:
        synthetic_images = load_synthetic(
            synthetic_labels(config), config.synthetic_per_class, TRAINING_SEED
        )
        sources.append((synthetic_images, config.effective_synthetic_share))
    return sources
