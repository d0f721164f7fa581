"""Labelled images as network input: from folders of photographs, or synthetic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from tqdm import tqdm

from models.errors import BadData, BadImage
from models.preprocess import Pixels, to_pixels
from models.synthetic import synthesize


@dataclass(frozen=True)
class Sample:
    """Labelled images.

    Attributes:
        pixels: uint8 [n, side, side, 3].
        truths: [n] true labels.
        names: [n] paths or names, for messages.
    """

    pixels: Pixels
    truths: tuple[str, ...]
    names: tuple[str, ...]


def class_folders(folder: Path) -> tuple[str, ...]:
    """Class names of a folder per class, in alphabetical order.

    Raises:
        BadData: `folder` is not a folder, or has no subfolder.
    """
    if not folder.is_dir():
        raise BadData(f"{folder} is not a folder; expected one with a subfolder per class")
    classes = sorted(p.name for p in folder.iterdir() if p.is_dir() and not _is_hidden(p))
    if not classes:
        raise BadData(f"{folder} has no subfolder; expected one per class, such as {folder}/cat")
    return tuple(classes)


def labelled_files(folder: Path, labels: Sequence[str]) -> list[tuple[Path, str]]:
    """Files of the classes `labels` in a folder per class: (path, label), in a stable order.

    Raises:
        BadData: A class is missing or empty.
    """
    found = class_folders(folder)
    files: list[tuple[Path, str]] = []
    for label in labels:
        if label not in found:
            raise BadData(
                f"{folder} has no folder '{label}', only {', '.join(found)}: add images of it"
            )
        paths = sorted(p for p in (folder / label).iterdir() if p.is_file() and not _is_hidden(p))
        if not paths:
            raise BadData(f"class '{label}' is empty: expected images in {folder / label}")
        files += [(path, label) for path in paths]
    return files


def read_bytes(path: Path) -> bytes:
    """Content of a file.

    Raises:
        BadData: The file cannot be read; the text names it.
    """
    try:
        return path.read_bytes()
    except OSError as exc:
        raise BadData(f"cannot read {path}: {exc.strerror}") from exc


def read_folder(folder: Path, labels: Sequence[str], side: int, progress: bool = False) -> Sample:
    """Read a folder per class at `side` x `side` px.

    Raises:
        BadData: A class is missing or empty, or a file is not an image; the text names it.
    """
    files = labelled_files(folder, labels)
    return _sample(
        ((str(path), read_bytes(path), label) for path, label in files),
        len(files),
        side,
        progress,
    )


def synthesize_sample(
    labels: Sequence[str], seeds: range, side: int, progress: bool = False
) -> Sample:
    """One synthetic image per label and seed, encoded as PNG and read at `side` x `side` px."""
    jobs = [(label, seed) for label in labels for seed in seeds]
    return _sample(
        ((f"{label}-{seed:06d}.png", _png(label, seed), label) for label, seed in jobs),
        len(jobs),
        side,
        progress,
    )


def _sample(
    images: Iterable[tuple[str, bytes, str]], count: int, side: int, progress: bool
) -> Sample:
    pixels = np.empty((count, side, side, 3), np.uint8)
    names, truths = [], []
    bar = tqdm(images, "reading", count, leave=False, unit="img", disable=not progress)
    for row, (name, data, label) in enumerate(bar):
        try:
            pixels[row] = to_pixels(data, side)
        except BadImage as exc:
            raise BadData(f"{name} cannot be read as an image: {exc}") from exc
        names.append(name)
        truths.append(label)
    return Sample(pixels, tuple(truths), tuple(names))


def _png(label: str, seed: int) -> bytes:
    buffer = BytesIO()
    synthesize(label, seed).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")
