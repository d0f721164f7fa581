from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import BadData
from models.preprocess import to_pixels
from models.samples import class_folders, labelled_files, read_folder, synthesize_sample
from models.synthetic import synthesize, write_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two cats and two dogs."""
    write_folder(tmp_path / "data", per_class=2, labels=["dog", "cat"], size=40)
    return tmp_path / "data"


class TestClassFolders:
    def test_classes_are_sorted(self, tmp_path: Path) -> None:
        for name in ("koala", "cat", "dog"):
            (tmp_path / name).mkdir()
        assert class_folders(tmp_path) == ("cat", "dog", "koala")

    def test_files_and_hidden_folders_are_ignored(self, folder: Path) -> None:
        (folder / ".cache").mkdir()
        (folder / "readme.txt").write_text("about the images")
        assert class_folders(folder) == ("cat", "dog")

    @pytest.mark.parametrize("name", ["missing", "file"])
    def test_a_path_that_is_not_a_folder_is_rejected(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file").write_bytes(b"")
        text = f"{tmp_path / name} is not a folder; expected one with a subfolder per class"
        with pytest.raises(BadData, match=f"^{re.escape(text)}$"):
            class_folders(tmp_path / name)

    def test_a_folder_without_classes_is_rejected(self, tmp_path: Path) -> None:
        (tmp_path / "cat.png").write_bytes(b"")
        with pytest.raises(BadData, match="has no subfolder; expected one per class, such as"):
            class_folders(tmp_path)


class TestLabelledFiles:
    def test_files_are_ordered_by_label_and_name(self, folder: Path) -> None:
        assert [(path.name, label) for path, label in labelled_files(folder, ["dog", "cat"])] == [
            ("dog-000000.png", "dog"),
            ("dog-000001.png", "dog"),
            ("cat-000000.png", "cat"),
            ("cat-000001.png", "cat"),
        ]

    def test_the_order_does_not_depend_on_the_creation_order(self, tmp_path: Path) -> None:
        (tmp_path / "cat").mkdir()
        for name in ("c.png", "a.png", "B.png", "b.png"):
            (tmp_path / "cat" / name).write_bytes(b"")
        names = [path.name for path, _ in labelled_files(tmp_path, ["cat"])]
        assert names == ["B.png", "a.png", "b.png", "c.png"]

    def test_only_requested_labels_are_listed(self, folder: Path) -> None:
        assert {label for _, label in labelled_files(folder, ["cat"])} == {"cat"}

    def test_hidden_files_and_subfolders_are_skipped(self, folder: Path) -> None:
        (folder / "cat" / ".DS_Store").write_bytes(b"junk")
        (folder / "cat" / "more").mkdir()
        assert len(labelled_files(folder, ["cat"])) == 2

    def test_a_missing_class_is_reported_with_the_existing_ones(self, folder: Path) -> None:
        text = f"{folder} has no folder 'koala', only cat, dog: add images of it"
        with pytest.raises(BadData, match=f"^{re.escape(text)}$"):
            labelled_files(folder, ["cat", "koala"])

    @pytest.mark.parametrize("leftover", [None, ".hidden"])
    def test_an_empty_class_is_reported(self, folder: Path, leftover: str | None) -> None:
        (folder / "koala").mkdir()
        if leftover:
            (folder / "koala" / leftover).write_bytes(b"junk")
        text = f"class 'koala' is empty: expected images in {folder / 'koala'}"
        with pytest.raises(BadData, match=f"^{re.escape(text)}$"):
            labelled_files(folder, ["cat", "koala"])


class TestReadFolder:
    @pytest.mark.parametrize("progress", [False, True])
    def test_images_are_preprocessed_as_in_serving(self, folder: Path, progress: bool) -> None:
        sample = read_folder(folder, ["cat", "dog"], 32, progress)
        assert sample.truths == ("cat", "cat", "dog", "dog")
        assert sample.names[0] == str(folder / "cat" / "cat-000000.png")
        assert sample.pixels.shape == (4, 32, 32, 3)
        assert sample.pixels.dtype == np.uint8
        for name, pixels in zip(sample.names, sample.pixels, strict=True):
            assert np.array_equal(pixels, to_pixels(Path(name).read_bytes(), 32))

    @pytest.mark.parametrize("progress", [False, True])
    @pytest.mark.parametrize("content", [b"a note, not an image", b"", b"\x89PNG\r\n\x1a\n"])
    def test_a_file_that_is_not_an_image_is_reported(
        self, folder: Path, content: bytes, progress: bool
    ) -> None:
        (folder / "cat" / "notes.txt").write_bytes(content)
        name = re.escape(str(folder / "cat" / "notes.txt"))
        with pytest.raises(BadData, match=f"^{name} cannot be read as an image: "):
            read_folder(folder, ["cat", "dog"], 32, progress)

    def test_a_truncated_image_is_reported(self, folder: Path) -> None:
        path = folder / "dog" / "dog-000001.png"
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(BadData, match=f"^{re.escape(str(path))} cannot be read as an image"):
            read_folder(folder, ["cat", "dog"], 32)

    def test_a_bad_file_of_another_class_is_ignored(self, folder: Path) -> None:
        (folder / "dog" / "notes.txt").write_text("a note, not an image")
        assert len(read_folder(folder, ["cat"], 32).truths) == 2

    def test_images_of_any_shape_are_read(self, tmp_path: Path) -> None:
        (tmp_path / "cat").mkdir()
        for number, size in enumerate([(90, 20), (20, 90), (1, 1), (33, 33)]):
            Image.new("RGB", size, "teal").save(tmp_path / "cat" / f"{number}.png")
        assert read_folder(tmp_path, ["cat"], 33).pixels.shape == (4, 33, 33, 3)


class TestSynthesizeSample:
    def test_there_is_one_image_per_label_and_seed(self) -> None:
        sample = synthesize_sample(["koala", "cat"], range(3, 5), 32)
        assert sample.truths == ("koala", "koala", "cat", "cat")
        assert sample.names == (
            "koala-000003.png",
            "koala-000004.png",
            "cat-000003.png",
            "cat-000004.png",
        )

    def test_images_are_preprocessed_as_in_serving(self) -> None:
        sample = synthesize_sample(["cat"], range(2), 32)
        for seed, pixels in enumerate(sample.pixels):
            buffer = BytesIO()
            synthesize("cat", seed).save(buffer, "PNG")
            assert np.array_equal(pixels, to_pixels(buffer.getvalue(), 32))

    def test_it_equals_a_folder_of_the_same_images(self, tmp_path: Path) -> None:
        write_folder(tmp_path, per_class=2, first_seed=8, labels=["cat", "dog"])
        files = read_folder(tmp_path, ["cat", "dog"], 48)
        synthetic_images = synthesize_sample(["cat", "dog"], range(8, 10), 48)
        assert np.array_equal(files.pixels, synthetic_images.pixels)
        assert files.truths == synthetic_images.truths

    @pytest.mark.parametrize(("labels", "seeds"), [([], range(3)), (["cat"], range(0))])
    def test_no_labels_or_no_seeds_give_an_empty_sample(
        self, labels: list[str], seeds: range
    ) -> None:
        sample = synthesize_sample(labels, seeds, 32)
        assert sample.pixels.shape == (0, 32, 32, 3)
        assert sample.truths == sample.names == ()

    def test_an_unknown_label_is_rejected(self) -> None:
        with pytest.raises(ValueError, match="cannot synthesize 'wombat'"):
            synthesize_sample(["wombat"], range(1), 32)
