"""Test versions: copies of a version that do something wrong on purpose."""

from __future__ import annotations

import hashlib
import shutil
from datetime import date
from pathlib import Path

from models import card as cards
from models import registry as registries
from models.card import Card, Faults, Parent
from models.errors import BadVersion
from models.registry import MODEL_CARD_FILE, ONNX_FILE, WEIGHTS_FILE, Version

_COPIED = (ONNX_FILE, WEIGHTS_FILE)


def publish_test_version(source: Version, name: str, faults: Faults, registry: Path) -> Card:
    """Publish a copy of a version whose card has faults.

    The card has no metrics: those of the source do not hold for the copy.

    Args:
        name: The new version, such as v102.

    Raises:
        ValidationError: The name is not that of a version.
        BadVersion: The registry has the name already, or the source is a test version.
        OSError: The registry cannot be written.
    """
    if source.card.faults:
        raise BadVersion(
            f"{source.card.version} is a test version: copy {_parent_name(source.card)}"
        )
    text = _model_card(source.card.version, name, faults).encode()
    files = {file: source.files[file] for file in _COPIED} | {MODEL_CARD_FILE: text}
    fields = source.card.model_dump() | {
        "version": name,
        "parent": Parent(version=source.card.version, digest=source.card.digest),
        "metrics": (),
        "training": source.card.training.model_copy(update={"date": date.today().isoformat()}),
        "files": {file: hashlib.sha256(data).hexdigest() for file, data in sorted(files.items())},
        "faults": faults,
    }
    card = Card.model_validate(fields).with_digest()
    folder, unfinished = registry / name, registry / f".{name}.new"
    if folder.exists():
        raise BadVersion(
            f"{folder} exists already, and a published version never changes: choose another name"
        )
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for file, data in (files | {cards.FILE: card.text().encode()}).items():
        (unfinished / file).write_bytes(data)
    unfinished.rename(folder)
    return card


def remove_test_version(name: str, registry: Path) -> None:
    """Remove a test version from a registry.

    Raises:
        UnknownVersion: The registry has no such version.
        BadVersion: It is damaged, or not a test version.
        OSError: The registry cannot be written.
    """
    version = registries.load(name, registry)
    if version.card.faults is None:
        raise BadVersion(f"{name} is not a test version: it is not removed")
    shutil.rmtree(version.folder)


def _parent_name(card: Card) -> str:
    return card.parent.version if card.parent else "the version that it was made of"


def _model_card(source: str, name: str, faults: Faults) -> str:
    return (
        f"# {name}\n\nA test version, not for users: a copy of {source} with faults on purpose"
        f" ({faults.sentence()}).\nIts network is that of {source}; see its model card.\n"
    )
