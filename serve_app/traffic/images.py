"""The images that generated traffic sends."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from models.samples import class_folders
from models.synthetic import LABELS, synthesize
from serve_app.client import media_type

IMAGES_PER_LABEL = 20


@dataclass(frozen=True, slots=True)
class TrafficImage:
    """An encoded image and its true label."""

    data: bytes
    media_type: str
    true_label: str


def synthetic_images(seed: int) -> list[TrafficImage]:
    """`IMAGES_PER_LABEL` synthetic images of each label."""
    images = []
    for label in LABELS:
        for number in range(IMAGES_PER_LABEL):
            content = BytesIO()
            synthesize(label, seed * IMAGES_PER_LABEL + number).save(content, "PNG")
            images.append(TrafficImage(content.getvalue(), "image/png", label))
    return images


def read_images(folder: Path) -> list[TrafficImage]:
    """Read every image of a folder that has one subfolder per class.

    Raises:
        BadData: The folder does not exist or has no class folders.
    """
    return [
        TrafficImage(path.read_bytes(), media_type(path), label)
        for label in class_folders(folder)
        for path in sorted((folder / label).iterdir())
        if path.is_file() and not path.name.startswith(".")
    ]
