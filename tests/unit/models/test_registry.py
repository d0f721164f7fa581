"""Shipped versions, intact and with damaged files."""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from models import card as cards
from models import registry
from models.card import Card, Input, Parent
from models.classifier import open_version
from models.errors import BadVersion, ModelsError, UnknownVersion

MAX_BYTES = 16 * 2**20
VERSIONS = registry.names()
FILES = [
    (version, path.name)
    for version in VERSIONS
    for path in sorted((registry.SHIPPED / version).iterdir())
    if not path.name.startswith(".")
]


@pytest.fixture
def registry_copy(tmp_path: Path) -> Path:
    """A copy of the shipped registry made of symlinks, for tests that damage it."""
    target = tmp_path / "registry"
    return Path(shutil.copytree(registry.SHIPPED, target, copy_function=os.symlink))


def replace_file(path: Path, data: bytes) -> None:
    """Replace a symlink of the copy by a file."""
    path.unlink()
    path.write_bytes(data)


def rewrite_card(folder: Path, **changes: object) -> Card:
    """Rewrite the card of a folder with changes and a matching digest."""
    card = cards.parse((folder / cards.FILE).read_bytes()).model_copy(update=changes).with_digest()
    replace_file(folder / cards.FILE, card.text().encode())
    return card


def rejection(version: str, folder: Path) -> str:
    with pytest.raises(BadVersion) as caught:
        registry.load(version, folder)
    return str(caught.value)


class TestShipped:
    def test_there_is_at_least_one_version(self) -> None:
        assert VERSIONS

    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_version_matches_its_card(self, version: str) -> None:
        loaded = registry.load(version)
        assert loaded.card.version == version
        assert loaded.folder == registry.SHIPPED / version
        assert set(registry.REQUIRED_FILES) <= set(loaded.files) == set(loaded.card.files)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_parent_is_shipped_and_its_labels_come_first(self, version: str) -> None:
        card = registry.load(version).card
        if card.parent is not None:
            parent = registry.load(card.parent.version).card
            assert card.parent.digest == parent.digest
            assert card.labels[: len(parent.labels)] == parent.labels
            assert VERSIONS.index(parent.version) < VERSIONS.index(version)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_version_is_below_the_size_limit(self, version: str) -> None:
        folder = registry.SHIPPED / version
        assert sum(path.stat().st_size for path in folder.iterdir()) <= MAX_BYTES
        loaded = registry.load(version)
        assert loaded.size_bytes == sum((folder / name).stat().st_size for name in loaded.files)

    @pytest.mark.parametrize(("version", "name"), FILES)
    def test_no_file_is_a_pickle_or_an_archive(self, version: str, name: str) -> None:
        """Reading them cannot run code; torch stores pickles in archives."""
        data = (registry.SHIPPED / version / name).read_bytes()
        assert not zipfile.is_zipfile(io.BytesIO(data))
        assert not contains_pickle(data)

    @pytest.mark.parametrize(("version", "name"), FILES)
    def test_no_file_contains_paths_of_the_exporting_machine(self, version: str, name: str) -> None:
        data = (registry.SHIPPED / version / name).read_bytes()
        places = (b"/home/", b"/root/", b"/tmp/", b"/Users/", b"site-packages", b"Traceback")
        assert [place for place in places if place in data] == []


def contains_pickle(data: bytes) -> bool:
    try:
        return any(operation.name == "STOP" for operation, _, _ in pickletools.genops(data))
    except ValueError:
        return False


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_contains_pickle_detects_all_protocols(protocol: int) -> None:
    assert contains_pickle(pickle.dumps({"weights": [1.0, 2.0]}, protocol))


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "changed": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "longer": lambda data: data + b"\0",
}


class TestDamage:
    @pytest.mark.parametrize("damage", DAMAGES)
    @pytest.mark.parametrize(("version", "name"), FILES)
    def test_a_damaged_file_is_rejected(
        self, registry_copy: Path, version: str, name: str, damage: str
    ) -> None:
        path = registry_copy / version / name
        replace_file(path, DAMAGES[damage](path.read_bytes()))
        assert rejection(version, registry_copy).startswith(str(path))

    @pytest.mark.parametrize(("version", "name"), FILES)
    def test_a_missing_file_is_rejected(self, registry_copy: Path, version: str, name: str) -> None:
        path = registry_copy / version / name
        path.unlink()
        assert rejection(version, registry_copy).startswith(f"{path} cannot be read: No such file")

    def test_the_error_states_the_size_and_the_remedy(self, registry_copy: Path) -> None:
        path = registry_copy / VERSIONS[0] / registry.ONNX_FILE
        replace_file(path, b"seven !")
        text = rejection(VERSIONS[0], registry_copy)
        assert text.startswith(f"{path} (7 bytes) has SHA-256 ")
        assert text.endswith("the file was truncated or changed; restore it")

    @pytest.mark.parametrize("create", [Path.touch, Path.mkdir])
    def test_an_extra_file_or_folder_is_rejected(
        self, registry_copy: Path, create: Callable[[Path], None]
    ) -> None:
        path = registry_copy / VERSIONS[0] / "extra"
        create(path)
        assert (
            rejection(VERSIONS[0], registry_copy) == f"{path} is not listed in the card: remove it"
        )

    @pytest.mark.parametrize("version", VERSIONS)
    def test_hidden_files_are_ignored(self, registry_copy: Path, version: str) -> None:
        """Hidden files come from file managers, for example."""
        (registry_copy / version / ".DS_Store").write_bytes(b"junk")
        (registry_copy / ".DS_Store").write_bytes(b"junk")
        assert registry.load(version, registry_copy).card == registry.load(version).card

    @pytest.mark.parametrize("name", registry.REQUIRED_FILES)
    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_card_without_a_required_file_is_rejected(
        self, registry_copy: Path, version: str, name: str
    ) -> None:
        folder = registry_copy / version
        files = {k: v for k, v in registry.load(version).card.files.items() if k != name}
        rewrite_card(folder, files=files)
        (folder / name).unlink()
        assert rejection(version, registry_copy) == f"{folder / cards.FILE} does not list {name}"

    @pytest.mark.parametrize("version", VERSIONS)
    def test_only_the_damaged_version_is_rejected(self, registry_copy: Path, version: str) -> None:
        replace_file(registry_copy / version / registry.ONNX_FILE, b"")
        for other in VERSIONS:
            if other == version:
                rejection(other, registry_copy)
            else:
                assert registry.load(other, registry_copy).card.version == other


class TestMislabelled:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_renamed_folder_is_rejected(self, registry_copy: Path, version: str) -> None:
        (registry_copy / version).rename(registry_copy / "v99")
        path = registry_copy / "v99" / cards.FILE
        assert (
            rejection("v99", registry_copy)
            == f"{path} is the card of {version}, but its folder is v99"
        )

    @pytest.mark.parametrize("version", VERSIONS)
    def test_labels_that_differ_from_the_network_are_rejected(
        self, registry_copy: Path, version: str
    ) -> None:
        """The card is valid, because its digest was recomputed."""
        labels = registry.load(version).card.labels
        rewrite_card(registry_copy / version, labels=labels[::-1])
        changed = registry.load(version, registry_copy)
        with pytest.raises(BadVersion) as caught:
            open_version(changed, "onnx")
        assert str(caught.value) == (
            f"{registry_copy / version / registry.ONNX_FILE} is mislabelled:"
            f" its labels are {json.dumps(labels)}, the card's {json.dumps(labels[::-1])}"
        )

    @pytest.mark.parametrize("version", VERSIONS)
    def test_an_input_side_that_differs_from_the_network_is_rejected(
        self, registry_copy: Path, version: str
    ) -> None:
        side = registry.load(version).card.input.side
        rewrite_card(registry_copy / version, input=Input(side=side + 8))
        with pytest.raises(BadVersion) as caught:
            open_version(registry.load(version, registry_copy), "onnx")
        text = str(caught.value)
        assert text.startswith(f"{registry_copy / version / registry.ONNX_FILE} has inputs ")
        assert f"uint8 [n, {side + 8}, {side + 8}, 3]" in text

    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_checksummed_file_that_is_not_a_network_is_rejected(
        self, registry_copy: Path, version: str
    ) -> None:
        """The checksum in the card matches."""
        path = registry_copy / version / registry.ONNX_FILE
        files = dict(registry.load(version).card.files)
        replace_file(path, (registry_copy / version / registry.MODEL_CARD_FILE).read_bytes())
        rewrite_card(
            registry_copy / version,
            files=files | {registry.ONNX_FILE: files[registry.MODEL_CARD_FILE]},
        )
        with pytest.raises(BadVersion) as caught:
            open_version(registry.load(version, registry_copy), "onnx")
        assert str(caught.value).startswith(f"{path} is not a network that ONNX Runtime can load: ")


class TestNames:
    @pytest.mark.parametrize("version", ["v0", "v99", "", "V1", "1", "..", "v1/", "v1\n", "v1 "])
    def test_the_error_of_an_unknown_version_lists_the_known_ones(self, version: str) -> None:
        with pytest.raises(UnknownVersion) as caught:
            registry.load(version)
        known = ", ".join(VERSIONS)
        assert str(caught.value) == (f"unknown version '{version}'; {registry.SHIPPED} has {known}")

    def test_an_empty_registry_has_no_versions(self, tmp_path: Path) -> None:
        assert registry.names(tmp_path) == ()
        with pytest.raises(UnknownVersion, match=r"unknown version 'v1'; .* has none"):
            registry.load("v1", tmp_path)

    @pytest.mark.parametrize("read", [registry.names, lambda folder: registry.load("v1", folder)])
    def test_a_missing_registry_is_reported(
        self, tmp_path: Path, read: Callable[[Path], object]
    ) -> None:
        with pytest.raises(UnknownVersion, match=f"the registry {tmp_path / 'missing'} is not a"):
            read(tmp_path / "missing")

    def test_versions_are_sorted_by_number(self, tmp_path: Path) -> None:
        for name in ("v10", "v9", "v1", "v100", ".v2.unfinished", "vX", "v1b", "notes"):
            (tmp_path / name).mkdir()
        (tmp_path / "v3").write_bytes(b"a file")
        assert registry.names(tmp_path) == ("v1", "v9", "v10", "v100")

    def test_a_version_is_added_by_adding_a_folder(self, registry_copy: Path) -> None:
        newest = VERSIONS[-1]
        number = f"v{int(newest[1:]) + 1}"
        shutil.copytree(registry_copy / newest, registry_copy / number, symlinks=True)
        parent = Parent(version=newest, digest=registry.load(newest).card.digest)
        card = rewrite_card(registry_copy / number, version=number, parent=parent)
        assert registry.names(registry_copy) == (*VERSIONS, number)
        assert registry.load(number, registry_copy).card == card
        assert open_version(registry.load(number, registry_copy)).card.version == number


class TestErrors:
    @pytest.mark.parametrize("version", ["v99", *VERSIONS])
    def test_an_error_survives_pickling_as_it_is_raised(
        self, registry_copy: Path, version: str
    ) -> None:
        """Errors are passed between processes."""
        for folder in registry_copy.iterdir():
            replace_file(folder / registry.WEIGHTS_FILE, b"")
        with pytest.raises(ModelsError) as caught:
            registry.load(version, registry_copy)
        again = pickle.loads(pickle.dumps(caught.value))
        assert type(again) is type(caught.value)
        assert str(again) == str(caught.value)
