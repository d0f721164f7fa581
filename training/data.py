"""Images for training: a folder per class of photographs, and synthetic images beside them."""

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
from models.preprocess import upright
from models.samples import class_folders, labelled_files, read_bytes
from models.synthetic import draw
from training.errors import TrainingError

STORED_SIDE = 160  # px; each image is kept in memory at this side, whatever its shape


@dataclass(frozen=True)
class Images:
    """Decoded images of one source.

    Attributes:
        pixels: uint8 [n, 3, STORED_SIDE, STORED_SIDE], whole images squeezed into squares.
        aspects: float32 [n], width / height before the squeeze.
        targets: int64 [n], index of the label.
    """

    pixels: Tensor
    aspects: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)


def reject_unknown_classes(folder: Path, known: Sequence[str]) -> None:
    """Raises TrainingError where `folder` holds a class that nobody declared."""
    for name in class_folders(folder):
        if name not in known:
            raise TrainingError(
                f"unknown class '{name}' in {folder}; known are {', '.join(known)}: remove the"
                " folder, or name it in `labels` or `ignored_labels` of the configuration"
            )


def load_photographs(folder: Path, labels: Sequence[str]) -> Images:
    """Decode every photograph of a folder per class.

    Raises:
        BadData: A class is missing or empty, or a file is no image; the text names it.
    """
    files = labelled_files(folder, labels)
    decoded = ((_read(path), labels.index(label)) for path, label in files)
    return _stack(decoded, len(files), f"reading {folder.name}")


def load_synthetic(labels: Sequence[str], per_class: int, first_seed: int) -> Images:
    """Draw `per_class` images a label, seeds `first_seed` and up."""
    jobs = [(label, seed) for label in labels for seed in range(first_seed, first_seed + per_class)]
    drawn = ((draw(label, seed, STORED_SIDE), labels.index(label)) for label, seed in jobs)
    return _stack(drawn, len(jobs), "synthetic image")


def _read(path: Path) -> Image.Image:
    try:
        return upright(read_bytes(path), around=STORED_SIDE)
    except BadImage as exc:
        raise BadData(f"{path} is no image that we read: {exc}") from exc


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
