"""Test versions are copies whose cards name their faults."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from models import classifier, registry
from models.card import Faults
from models.errors import BadVersion
from models.faults import publish_test_version, remove_test_version

V2 = registry.load("v2")
FAULTS = Faults(slow_ms=300, fail=0.05, wrong=0.1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A registry whose files are links to the shipped ones."""
    return Path(shutil.copytree(registry.SHIPPED, tmp_path / "r", copy_function=os.symlink))


def test_a_test_version_is_a_sound_copy(folder: Path) -> None:
    card = publish_test_version(V2, "v102", FAULTS, folder)
    loaded = registry.load("v102", folder)
    assert loaded.card == card
    assert (card.faults, card.labels, card.metrics) == (FAULTS, V2.card.labels, ())
    assert card.parent
    assert (card.parent.version, card.parent.digest) == ("v2", V2.card.digest)
    sentence = "300 ms slower, 5 % of its calls fail, 10 % of its labels are wrong"
    assert sentence in loaded.files[registry.MODEL_CARD_FILE].decode()
    pixels = np.zeros((1, card.input.side, card.input.side, 3), np.uint8)
    copy, source = (classifier.open_version(version) for version in (loaded, V2))
    assert copy.probabilities(pixels) == pytest.approx(source.probabilities(pixels))


def test_a_published_version_is_not_replaced(folder: Path) -> None:
    publish_test_version(V2, "v102", FAULTS, folder)
    for name in ("v102", "v1"):
        with pytest.raises(BadVersion, match="exists already"):
            publish_test_version(V2, name, FAULTS, folder)


@pytest.mark.parametrize("name", ["", "v", "v2-slow", "../v3", "V3"])
def test_a_test_version_has_the_name_of_a_version(name: str, folder: Path) -> None:
    with pytest.raises(ValidationError):
        publish_test_version(V2, name, FAULTS, folder)


def test_a_test_version_is_not_copied(folder: Path) -> None:
    publish_test_version(V2, "v102", FAULTS, folder)
    with pytest.raises(BadVersion, match="v102 is a test version: copy v2"):
        publish_test_version(registry.load("v102", folder), "v103", FAULTS, folder)


def test_only_test_versions_are_removed(folder: Path) -> None:
    publish_test_version(V2, "v102", FAULTS, folder)
    remove_test_version("v102", folder)
    assert registry.names(folder) == registry.names()
    with pytest.raises(BadVersion, match="v2 is not a test version"):
        remove_test_version("v2", folder)
    assert registry.names(folder) == registry.names()
