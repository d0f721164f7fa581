"""Every shipped version is checked as it is, and damaged in every way that we could think of."""

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
BESIDE_THE_CARD = [(version, name) for version, name in FILES if name != cards.FILE]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The shipped registry, to damage: of links, so that copies take no room."""
    target = tmp_path / "registry"
    return Path(shutil.copytree(registry.SHIPPED, target, copy_function=os.symlink))


def rewrite(path: Path, data: bytes) -> None:
    """Replace a file of the copy, and not what it links to."""
    path.unlink()
    path.write_bytes(data)


def reseal(folder: Path, **changes: object) -> Card:
    """Write a folder's card anew with other values and a digest that fits them."""
    card = cards.parse((folder / cards.FILE).read_bytes()).model_copy(update=changes).with_digest()
    rewrite(folder / cards.FILE, card.text().encode())
    return card


def rejection(version: str, folder: Path) -> str:
    with pytest.raises(BadVersion) as caught:
        registry.load(version, folder)
    return str(caught.value)


class TestShipped:
    def test_there_is_at_least_one_version(self) -> None:
        assert VERSIONS

    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_version_is_what_its_card_says(self, version: str) -> None:
        loaded = registry.load(version)
        assert loaded.card.version == version
        assert loaded.folder == registry.SHIPPED / version
        assert set(registry.REQUIRED_FILES) <= set(loaded.files) == set(loaded.card.files)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_parent_is_the_shipped_one_and_its_labels_come_first(self, version: str) -> None:
        card = registry.load(version).card
        if card.parent is not None:
            parent = registry.load(card.parent.version).card
            assert card.parent.digest == parent.digest
            assert card.labels[: len(parent.labels)] == parent.labels
            assert VERSIONS.index(parent.version) < VERSIONS.index(version)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_version_is_small(self, version: str) -> None:
        folder = registry.SHIPPED / version
        assert sum(path.stat().st_size for path in folder.iterdir()) <= MAX_BYTES
        loaded = registry.load(version)
        assert loaded.size_bytes == sum((folder / name).stat().st_size for name in loaded.files)

    @pytest.mark.parametrize(("version", "name"), FILES)
    def test_no_file_can_run_code_when_it_is_read(self, version: str, name: str) -> None:
        """Neither a pickle nor an archive, in which torch would hide one."""
        data = (registry.SHIPPED / version / name).read_bytes()
        assert not zipfile.is_zipfile(io.BytesIO(data))
        assert not is_pickle(data)

    @pytest.mark.parametrize(("version", "name"), FILES)
    def test_no_file_tells_of_the_machine_that_made_it(self, version: str, name: str) -> None:
        data = (registry.SHIPPED / version / name).read_bytes()
        places = (b"/home/", b"/root/", b"/tmp/", b"/Users/", b"site-packages", b"Traceback")
        assert [place for place in places if place in data] == []


def is_pickle(data: bytes) -> bool:
    try:
        return any(operation.name == "STOP" for operation, _, _ in pickletools.genops(data))
    except ValueError:
        return False


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_would_be_found(protocol: int) -> None:
    assert is_pickle(pickle.dumps({"weights": [1.0, 2.0]}, protocol))


class TestDamage:
    @pytest.mark.parametrize("share", [0, 0.5, 1], ids=["first", "middle", "last"])
    @pytest.mark.parametrize(("version", "name"), FILES)
    def test_a_changed_byte_is_rejected(
        self, copied: Path, version: str, name: str, share: float
    ) -> None:
        path = copied / version / name
        data = bytearray(path.read_bytes())
        data[int((len(data) - 1) * share)] ^= 1
        rewrite(path, bytes(data))
        assert rejection(version, copied).startswith(str(path))

    @pytest.mark.parametrize("share", [0, 0.5, 1], ids=["to nothing", "to half", "by a byte"])
    @pytest.mark.parametrize(("version", "name"), FILES)
    def test_a_truncated_file_is_rejected(
        self, copied: Path, version: str, name: str, share: float
    ) -> None:
        path = copied / version / name
        data = path.read_bytes()
        rewrite(path, data[: int((len(data) - 1) * share)])
        assert rejection(version, copied).startswith(str(path))

    @pytest.mark.parametrize(("version", "name"), FILES)
    def test_a_longer_file_is_rejected(self, copied: Path, version: str, name: str) -> None:
        path = copied / version / name
        rewrite(path, path.read_bytes() + b"\0")
        assert rejection(version, copied).startswith(str(path))

    @pytest.mark.parametrize(("version", "name"), FILES)
    def test_a_missing_file_is_rejected(self, copied: Path, version: str, name: str) -> None:
        path = copied / version / name
        path.unlink()
        assert rejection(version, copied).startswith(f"{path} cannot be read: No such file")

    @pytest.mark.parametrize(("version", "name"), FILES)
    def test_a_folder_in_place_of_a_file_is_rejected(
        self, copied: Path, version: str, name: str
    ) -> None:
        path = copied / version / name
        path.unlink()
        path.mkdir()
        assert rejection(version, copied).startswith(f"{path} cannot be read: ")

    @pytest.mark.parametrize(("version", "name"), BESIDE_THE_CARD)
    def test_the_rejection_tells_the_size_and_what_to_do(
        self, copied: Path, version: str, name: str
    ) -> None:
        path = copied / version / name
        rewrite(path, b"seven !")
        text = rejection(version, copied)
        assert text.startswith(f"{path} (7 bytes) has SHA-256 ")
        assert text.endswith("the file was truncated or changed; restore it")

    @pytest.mark.parametrize("name", ["weights.pt", "model (copy).onnx", "notes"])
    @pytest.mark.parametrize("version", VERSIONS)
    def test_an_extra_file_is_rejected(self, copied: Path, version: str, name: str) -> None:
        path = copied / version / name
        path.write_bytes(b"")
        assert rejection(version, copied) == f"{path} is not in the card: remove it"

    @pytest.mark.parametrize("version", VERSIONS)
    def test_an_extra_folder_is_rejected(self, copied: Path, version: str) -> None:
        path = copied / version / "__pycache__"
        path.mkdir()
        assert rejection(version, copied) == f"{path} is not in the card: remove it"

    @pytest.mark.parametrize("version", VERSIONS)
    def test_hidden_files_are_ignored(self, copied: Path, version: str) -> None:
        """Such as file managers leave behind."""
        (copied / version / ".DS_Store").write_bytes(b"junk")
        (copied / ".DS_Store").write_bytes(b"junk")
        assert registry.load(version, copied).card == registry.load(version).card

    @pytest.mark.parametrize("name", registry.REQUIRED_FILES)
    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_card_that_leaves_out_a_required_file_is_rejected(
        self, copied: Path, version: str, name: str
    ) -> None:
        folder = copied / version
        files = {k: v for k, v in registry.load(version).card.files.items() if k != name}
        reseal(folder, files=files)
        (folder / name).unlink()
        assert rejection(version, copied) == f"{folder / cards.FILE} names no {name}"

    @pytest.mark.parametrize("version", VERSIONS)
    def test_only_the_damaged_version_is_rejected(self, copied: Path, version: str) -> None:
        rewrite(copied / version / registry.ONNX_FILE, b"")
        for other in VERSIONS:
            if other == version:
                rejection(other, copied)
            else:
                assert registry.load(other, copied).card.version == other


class TestMislabelled:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_folder_under_another_name_is_rejected(self, copied: Path, version: str) -> None:
        (copied / version).rename(copied / "v99")
        path = copied / "v99" / cards.FILE
        assert rejection("v99", copied) == f"{path} is the card of {version}, in the folder of v99"

    @pytest.mark.parametrize("version", VERSIONS)
    def test_swapped_labels_are_found_by_the_network(self, copied: Path, version: str) -> None:
        """The card alone cannot tell: it is sealed anew."""
        labels = registry.load(version).card.labels
        reseal(copied / version, labels=labels[::-1])
        changed = registry.load(version, copied)
        with pytest.raises(BadVersion) as caught:
            open_version(changed, "onnx")
        assert str(caught.value) == (
            f"{copied / version / registry.ONNX_FILE} is mislabelled:"
            f" it names {json.dumps(labels)}, its card {json.dumps(labels[::-1])}"
        )

    @pytest.mark.parametrize("version", VERSIONS)
    def test_another_side_is_found_by_the_network(self, copied: Path, version: str) -> None:
        side = registry.load(version).card.input.side
        reseal(copied / version, input=Input(side=side + 8))
        with pytest.raises(BadVersion) as caught:
            open_version(registry.load(version, copied), "onnx")
        text = str(caught.value)
        assert text.startswith(f"{copied / version / registry.ONNX_FILE} takes ")
        assert f"uint8 [n, {side + 8}, {side + 8}, 3]" in text

    @pytest.mark.parametrize("version", VERSIONS)
    def test_the_network_of_another_file_is_rejected(self, copied: Path, version: str) -> None:
        """A file that the card vouches for, and that is no network."""
        path = copied / version / registry.ONNX_FILE
        files = dict(registry.load(version).card.files)
        rewrite(path, (copied / version / registry.MODEL_CARD_FILE).read_bytes())
        reseal(
            copied / version,
            files=files | {registry.ONNX_FILE: files[registry.MODEL_CARD_FILE]},
        )
        with pytest.raises(BadVersion) as caught:
            open_version(registry.load(version, copied), "onnx")
        assert str(caught.value).startswith(f"{path} is no network that ONNX Runtime loads: ")


class TestNames:
    @pytest.mark.parametrize("version", ["v0", "v99", "", "V1", "1", "..", "v1/", "v1\n", "v1 "])
    def test_an_unknown_version_names_the_known_ones(self, version: str) -> None:
        with pytest.raises(UnknownVersion) as caught:
            registry.load(version)
        known = ", ".join(VERSIONS)
        assert str(caught.value) == (f"unknown version '{version}'; {registry.SHIPPED} has {known}")

    def test_an_empty_registry_has_none(self, tmp_path: Path) -> None:
        assert registry.names(tmp_path) == ()
        with pytest.raises(UnknownVersion, match=r"unknown version 'v1'; .* has none"):
            registry.load("v1", tmp_path)

    @pytest.mark.parametrize("ask", [registry.names, lambda folder: registry.load("v1", folder)])
    def test_a_registry_that_is_not_there_is_named(
        self, tmp_path: Path, ask: Callable[[Path], object]
    ) -> None:
        with pytest.raises(UnknownVersion, match=f"the registry {tmp_path / 'gone'} is not a"):
            ask(tmp_path / "gone")

    def test_versions_come_in_the_order_of_their_numbers(self, tmp_path: Path) -> None:
        for name in ("v10", "v9", "v1", "v100", ".v2.unfinished", "vX", "v1b", "notes"):
            (tmp_path / name).mkdir()
        (tmp_path / "v3").write_bytes(b"a file")
        assert registry.names(tmp_path) == ("v1", "v9", "v10", "v100")

    def test_a_new_version_is_one_more_folder(self, copied: Path) -> None:
        newest = VERSIONS[-1]
        number = f"v{int(newest[1:]) + 1}"
        shutil.copytree(copied / newest, copied / number, symlinks=True)
        parent = Parent(version=newest, digest=registry.load(newest).card.digest)
        card = reseal(copied / number, version=number, parent=parent)
        assert registry.names(copied) == (*VERSIONS, number)
        assert registry.load(number, copied).card == card
        assert open_version(registry.load(number, copied)).card.version == number


class TestErrors:
    @pytest.mark.parametrize("version", ["v99", *VERSIONS])
    def test_an_error_survives_pickling_as_it_is_raised(self, copied: Path, version: str) -> None:
        """Worker processes send them to the one that asked."""
        for folder in copied.iterdir():
            rewrite(folder / registry.WEIGHTS_FILE, b"")
        with pytest.raises(ModelsError) as caught:
            registry.load(version, copied)
        again = pickle.loads(pickle.dumps(caught.value))
        assert type(again) is type(caught.value)
        assert str(again) == str(caught.value)

    def test_an_unknown_version_is_a_lookup_error_too(self) -> None:
        assert issubclass(UnknownVersion, LookupError)
