"""The registry: one folder per version, whose checksums are verified before use.

    registry/v1/card.json             see `models.card`
    registry/v1/model.onnx            serving on CPUs
    registry/v1/weights.safetensors   training, and serving on GPUs
    registry/v1/MODEL_CARD.md         the card as text
    registry/v1/*.png                 learning curves, confusion matrix

To add a version, add a folder; nothing else lists the versions.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from models import card as cards
from models.card import Card
from models.errors import BadVersion, UnknownVersion

SHIPPED = Path(__file__).parent / "registry"
ONNX_FILE = "model.onnx"
WEIGHTS_FILE = "weights.safetensors"
MODEL_CARD_FILE = "MODEL_CARD.md"
REQUIRED_FILES = (ONNX_FILE, WEIGHTS_FILE, MODEL_CARD_FILE)
_VERSION = re.compile(r"^v([0-9]+)$")


@dataclass(frozen=True)
class Version:
    """A verified version.

    Attributes:
        folder: Path of the version, for messages.
        files: Content of each file in the card: the bytes that were verified.
    """

    folder: Path
    card: Card
    files: dict[str, bytes]

    @property
    def size_bytes(self) -> int:
        return sum(len(data) for data in self.files.values())


def names(registry: Path = SHIPPED) -> tuple[str, ...]:
    """Versions of the registry by number, oldest first; they are not verified.

    Raises:
        UnknownVersion: The registry is not a folder that can be read.
    """
    try:
        if not registry.is_dir():
            raise UnknownVersion(f"the registry {registry} is not a folder")
        found = [p.name for p in registry.iterdir() if p.is_dir() and _VERSION.match(p.name)]
    except OSError as exc:
        start = str(registry)[:200]
        raise UnknownVersion(f"the registry {start} cannot be read: {exc.strerror}") from exc
    return tuple(sorted(found, key=lambda name: int(name[1:])))


def load(version: str, registry: Path = SHIPPED) -> Version:
    """Read a version and verify all its files.

    Raises:
        UnknownVersion: The registry has no such folder.
        BadVersion: A file is missing, truncated, changed, not in the card, or mislabelled; the
            text names it.
    """
    known = names(registry)
    if version not in known:
        raise UnknownVersion(
            f"unknown version '{version}'; {registry} has {', '.join(known) or 'none'}"
        )
    folder = registry / version
    card_path = folder / cards.FILE
    try:
        card = cards.parse(_read(card_path))
    except ValueError as exc:
        raise BadVersion(f"{card_path} is rejected: {exc}") from exc
    if card.version != version:
        raise BadVersion(f"{card_path} is the card of {card.version}, but its folder is {version}")
    for name in REQUIRED_FILES:
        if name not in card.files:
            raise BadVersion(f"{card_path} does not list {name}")
    present = {p.name for p in folder.iterdir() if not p.name.startswith(".")} - {cards.FILE}
    for name in sorted(present - card.files.keys()):
        raise BadVersion(f"{folder / name} is not listed in the card: remove it")
    files = {name: _read(folder / name) for name in card.files}
    for name, data in files.items():
        digest = hashlib.sha256(data).hexdigest()
        if digest != card.files[name]:
            raise BadVersion(
                f"{folder / name} ({len(data)} bytes) has SHA-256 {digest[:12]}…, the card"
                f" {card.files[name][:12]}…: the file was truncated or changed; restore it"
            )
    return Version(folder, card, files)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise BadVersion(f"{path} cannot be read: {exc.strerror}") from exc
