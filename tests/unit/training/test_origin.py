from __future__ import annotations

from pathlib import Path

import pytest

from models.card import Parent
from models.errors import BadData
from models.synthetic import write_folder
from training.origin import Origin, describe_origin

LABELS = ("cat", "dog")
PARENT = Parent(version="v1", digest="0" * 64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three cats, three dogs and one koala, which is not among `LABELS`."""
    write_folder(tmp_path, per_class=3, labels=LABELS, size=16)
    write_folder(tmp_path, per_class=1, labels=["koala"], size=16)
    return tmp_path


def test_it_counts_the_photographs_of_the_labels(folder: Path) -> None:
    found = describe_origin(folder, LABELS, PARENT)
    assert found.photographs == {"cat": 3, "dog": 3}
    assert found.parent == PARENT


def test_synthetic_images_only_have_no_photographs() -> None:
    assert describe_origin(None, LABELS, None).photographs == {}
    assert describe_origin(None, LABELS, None) == describe_origin(None, ("dog", "koala"), None)


def test_it_survives_a_json_round_trip(folder: Path) -> None:
    found = describe_origin(folder, LABELS, PARENT)
    assert Origin.model_validate_json(found.model_dump_json()) == found


def test_the_digest_does_not_depend_on_the_folder(folder: Path, tmp_path: Path) -> None:
    moved = folder.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    write_folder(tmp_path, per_class=3, labels=LABELS, size=16)
    assert describe_origin(moved, LABELS, None) == describe_origin(tmp_path, LABELS, None)


def test_other_labels_in_the_folder_are_ignored(folder: Path) -> None:
    before = describe_origin(folder, LABELS, None)
    (folder / "koala" / "koala-000000.png").unlink()
    assert describe_origin(folder, LABELS, None) == before


@pytest.mark.parametrize(
    "change", ["one more", "one less", "renamed", "longer", "in another class"]
)
def test_different_images_have_a_different_digest(folder: Path, change: str) -> None:
    before = describe_origin(folder, LABELS, None)
    path = folder / "cat" / "cat-000001.png"
    match change:
        case "one more":
            path.with_name("more.png").write_bytes(b"")
        case "one less":
            path.unlink()
        case "renamed":
            path.rename(path.with_name("tom.png"))
        case "longer":
            path.write_bytes(path.read_bytes() + b"\0")
        case "in another class":
            path.rename(folder / "dog" / path.name)
    assert describe_origin(folder, LABELS, None).photographs_digest != before.photographs_digest


def test_a_class_without_images_is_rejected(folder: Path) -> None:
    with pytest.raises(BadData, match="has no folder 'wombat'"):
        describe_origin(folder, ("cat", "wombat"), None)
