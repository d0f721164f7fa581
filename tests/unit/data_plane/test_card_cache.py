from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models import registry
from models.errors import BadVersion
from serve_app.data_plane.card_cache import CardCache
from serve_app.errors import NoSuchVersion, NotReady


def test_cards_are_those_of_the_registry() -> None:
    versions = CardCache(registry.SHIPPED)
    assert versions.names() == registry.names()
    assert versions.card("v2") == registry.load("v2").card


@pytest.mark.parametrize("name", ["v9", "", "..", "v1/../v1", "v1\0", "V1"])
def test_the_error_for_an_unknown_version_lists_the_versions(name: str) -> None:
    with pytest.raises(NoSuchVersion, match=r"there is no version '.*': the registry has v1, v2$"):
        CardCache(registry.SHIPPED).card(name)


def test_a_version_added_later_is_found(tmp_path: Path) -> None:
    versions = CardCache(tmp_path)
    assert versions.names() == ()
    shutil.copytree(registry.SHIPPED / "v1", tmp_path / "v1")
    assert versions.names() == ("v1",)
    assert versions.card("v1").labels == ("cat", "dog")


def test_cards_are_cached(tmp_path: Path) -> None:
    versions = CardCache(Path(shutil.copytree(registry.SHIPPED, tmp_path / "registry")))
    before = versions.card("v1")
    shutil.rmtree(tmp_path / "registry")
    assert versions.card("v1") is before


def test_a_damaged_version_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    with pytest.raises(NotReady, match=r"version v1 is rejected: .*card\.json cannot") as caught:
        CardCache(tmp_path).card("v1")
    assert isinstance(caught.value.__cause__, BadVersion)


def test_a_missing_registry_has_no_versions(tmp_path: Path) -> None:
    versions = CardCache(tmp_path / "missing")
    assert versions.names() == ()
    with pytest.raises(NoSuchVersion, match="the registry has none"):
        versions.card("v1")
