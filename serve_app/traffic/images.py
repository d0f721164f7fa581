"""What invented users photograph."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from models.samples import class_folders
from models.synthetic import LABELS, draw
from serve_app.client import media_type

IMAGES_PER_LABEL = 20


@dataclass(frozen=True, slots=True)
class TrafficImage:
    """An encoded image and what it shows."""

    data: bytes
    media_type: str
    truth: str


def synthetic_images(seed: int) -> list[TrafficImage]:
    """Some of each label."""
    images = []
    for label in LABELS:
        for number in range(IMAGES_PER_LABEL):
            content = BytesIO()
            draw(label, seed * IMAGES_PER_LABEL + number).save(content, "PNG")
            images.append(TrafficImage(content.getvalue(), "image/png", label))
    return images


def photographs(folder: Path) -> list[TrafficImage]:
    """Every photograph of a folder per class.

    Raises:
        BadData: It is not such a folder.
    """
    return [
        TrafficImage(path.read_bytes(), media_type(path), label)
        for label in class_folders(folder)
        for path in sorted((folder / label).iterdir())
        if path.is_file() and not path.name.startswith(".")
    ]
