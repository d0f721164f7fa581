from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.errors import BadData
from models.synthetic import synthesize, write_folder
from training.data import STORED_SIDE, load_photographs, load_synthetic, reject_unknown_classes
from training.errors import TrainingError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two cats and two dogs."""
    write_folder(tmp_path / "data", per_class=2, labels=["cat", "dog"], size=40)
    return tmp_path / "data"


class TestPhotographs:
    def test_they_are_stored_whole_with_their_aspect_ratio(self, tmp_path: Path) -> None:
        (tmp_path / "cat").mkdir()
        for number, size in enumerate([(60, 30), (30, 60), (50, 50)]):
            image = Image.new("RGB", size, "red")
            image.paste("blue", (size[0] // 2, 0, size[0], size[1]))
            image.save(tmp_path / "cat" / f"{number}.png")
        loaded = load_photographs(tmp_path, ["cat"])
        assert loaded.aspects.tolist() == [2, 0.5, 1]
        assert loaded.pixels.shape == (3, 3, STORED_SIDE, STORED_SIDE)
        assert loaded.pixels.dtype == torch.uint8
        left, right = loaded.pixels[..., : STORED_SIDE // 2 - 3], loaded.pixels[..., -60:]
        assert (left[:, 0] == 255).all()
        assert (right[:, 2] == 255).all()

    def test_targets_follow_the_order_of_the_labels(self, folder: Path) -> None:
        assert load_photographs(folder, ["dog", "cat"]).targets.tolist() == [0, 0, 1, 1]
        assert load_photographs(folder, ["cat"]).targets.tolist() == [0, 0]

    def test_the_exif_orientation_is_applied(self, tmp_path: Path) -> None:
        (tmp_path / "cat").mkdir()
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (60, 20), "red").save(tmp_path / "cat" / "turned.jpg", exif=exif)
        assert load_photographs(tmp_path, ["cat"]).aspects.tolist() == pytest.approx([1 / 3])

    @pytest.mark.parametrize("content", [b"", b"a note, not an image", b"\xff\xd8\xff\xe0"])
    def test_a_file_that_is_not_an_image_is_reported(self, folder: Path, content: bytes) -> None:
        path = folder / "dog" / "notes.txt"
        path.write_bytes(content)
        with pytest.raises(BadData, match=f"^{re.escape(str(path))} cannot be read as an image: "):
            load_photographs(folder, ["cat", "dog"])

    def test_a_truncated_image_is_reported(self, folder: Path) -> None:
        path = folder / "cat" / "half.jpg"
        buffer = BytesIO()
        synthesize("cat", 0).save(buffer, "JPEG")
        path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
        with pytest.raises(BadData, match=f"^{re.escape(str(path))} cannot be read as an image"):
            load_photographs(folder, ["cat", "dog"])

    def test_a_missing_class_is_reported(self, folder: Path) -> None:
        with pytest.raises(BadData, match=r"has no folder 'koala', only cat, dog: add images"):
            load_photographs(folder, ["cat", "dog", "koala"])

    def test_an_empty_class_is_reported(self, folder: Path) -> None:
        (folder / "koala").mkdir()
        with pytest.raises(BadData, match="class 'koala' is empty"):
            load_photographs(folder, ["cat", "dog", "koala"])

    def test_hidden_files_are_ignored(self, folder: Path) -> None:
        (folder / "cat" / ".DS_Store").write_bytes(b"junk")
        assert len(load_photographs(folder, ["cat", "dog"])) == 4


class TestSyntheticImages:
    def test_there_is_one_image_per_label_and_seed(self) -> None:
        synthetic_images = load_synthetic(["koala", "cat"], 2, first_seed=7)
        assert len(synthetic_images) == 4
        assert synthetic_images.targets.tolist() == [0, 0, 1, 1]
        assert synthetic_images.aspects.tolist() == [1, 1, 1, 1]
        jobs = [("koala", 7), ("koala", 8), ("cat", 7), ("cat", 8)]
        for pixels, (label, seed) in zip(synthetic_images.pixels, jobs, strict=True):
            expected = np.asarray(synthesize(label, seed, STORED_SIDE))
            assert np.array_equal(pixels.permute(1, 2, 0).numpy(), expected)


class TestUnknownClasses:
    def test_known_classes_are_accepted_even_if_some_are_missing(self, folder: Path) -> None:
        reject_unknown_classes(folder, ("cat", "dog", "koala"))

    def test_an_unknown_class_is_reported_with_the_known_ones(self, folder: Path) -> None:
        (folder / "wombat").mkdir()
        text = (
            f"unknown class 'wombat' in {folder}; known are cat, dog: remove the folder,"
            " or add it to `labels` or `ignored_labels` of the configuration"
        )
        with pytest.raises(TrainingError, match=f"^{re.escape(text)}$"):
            reject_unknown_classes(folder, ("cat", "dog"))

    def test_hidden_folders_are_ignored(self, folder: Path) -> None:
        (folder / ".cache").mkdir()
        reject_unknown_classes(folder, ("cat", "dog"))

    def test_a_missing_folder_is_reported(self, tmp_path: Path) -> None:
        with pytest.raises(BadData, match=f"{tmp_path / 'train'} is not a folder"):
            reject_unknown_classes(tmp_path / "train", ("cat", "dog"))
