"""Training images: photographs from a folder per class, and synthetic images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from models.errors import BadData, BadImage
from models.preprocess import decode_upright
from models.samples import class_folders, labelled_files, read_bytes
from models.synthetic import synthesize
from training.errors import TrainingError

STORED_SIDE = 160  # px; images of any shape are stored as squares of this side


@dataclass(frozen=True)
class Images:
    """Decoded images of one source.

    Attributes:
        pixels: uint8 [n, 3, STORED_SIDE, STORED_SIDE], whole images resized to squares.
        aspects: float32 [n], width / height before the resize.
        targets: int64 [n], index of the label.
    """

    pixels: Tensor
    aspects: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)


def reject_unknown_classes(folder: Path, known: Sequence[str]) -> None:
    """Check that all classes in `folder` are known.

    Raises:
        TrainingError: `folder` has an unknown class.
    """
    for name in class_folders(folder):
        if name not in known:
            raise TrainingError(
                f"unknown class '{name}' in {folder}; known are {', '.join(known)}: remove the"
                " folder, or add it to `labels` or `ignored_labels` of the configuration"
            )


def load_photographs(folder: Path, labels: Sequence[str]) -> Images:
    """Decode all photographs of a folder per class.

    Raises:
        BadData: A class is missing or empty, or a file is not an image; the text names it.
    """
    files = labelled_files(folder, labels)
    decoded = ((_read(path), labels.index(label)) for path, label in files)
    return _stack(decoded, len(files), f"reading {folder.name}")


def load_synthetic(labels: Sequence[str], per_class: int, first_seed: int) -> Images:
    """Synthesize `per_class` images per label, with seeds from `first_seed`."""
    jobs = [(label, seed) for label in labels for seed in range(first_seed, first_seed + per_class)]
    images = ((synthesize(label, seed, STORED_SIDE), labels.index(label)) for label, seed in jobs)
    return _stack(images, len(jobs), "synthesizing")


def _read(path: Path) -> Image.Image:
    try:
        return decode_upright(read_bytes(path), target_side=STORED_SIDE)
    except BadImage as exc:
        raise BadData(f"{path} cannot be read as an image: {exc}") from exc


def _stack(images: Iterable[tuple[Image.Image, int]], count: int, task: str) -> Images:
    pixels = np.empty((count, STORED_SIDE, STORED_SIDE, 3), np.uint8)
    aspects = np.empty(count, np.float32)
    targets = np.empty(count, np.int64)
    for row, (image, target) in enumerate(
        tqdm(images, task, count, leave=False, unit="img", disable=None)
    ):
        pixels[row] = np.asarray(
            image.resize((STORED_SIDE, STORED_SIDE), Image.Resampling.BILINEAR)
        )
        aspects[row] = image.width / image.height
        targets[row] = target
    return Images(
        torch.from_numpy(pixels).permute(0, 3, 1, 2),
        torch.from_numpy(aspects),
        torch.from_numpy(targets),
    )
