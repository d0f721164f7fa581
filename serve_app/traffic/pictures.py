"""What invented users photograph."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from models.drawings import LABELS, draw
from models.samples import class_folders
from serve_app.client import media_type

DRAWINGS_A_LABEL = 20


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture and what it shows."""

    data: bytes
    media_type: str
    truth: str


def drawings(seed: int) -> list[Picture]:
    """Some of each label."""
    pictures = []
    for label in LABELS:
        for number in range(DRAWINGS_A_LABEL):
            content = BytesIO()
            draw(label, seed * DRAWINGS_A_LABEL + number).save(content, "PNG")
            pictures.append(Picture(content.getvalue(), "image/png", label))
    return pictures


def photographs(folder: Path) -> list[Picture]:
    """Every photograph of a folder per class.

    Raises:
        BadData: It is not such a folder.
    """
    return [
        Picture(path.read_bytes(), media_type(path), label)
        for label in class_folders(folder)
        for path in sorted((folder / label).iterdir())
        if path.is_file() and not path.name.startswith(".")
    ]
