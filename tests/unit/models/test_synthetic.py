from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.synthetic import LABELS, synthesize, write_folder
from models.synthetic.canvas import Canvas
from models.synthetic.palette import Colour, Style, random_palette
from models.synthetic.scenery import BACKGROUNDS

UNUSED_COLOUR = (255, 0, 255)  # does not occur in any background


@pytest.mark.parametrize("label", LABELS)
def test_equal_arguments_give_equal_pixels(label: str) -> None:
    assert synthesize(label, 7, 48).tobytes() == synthesize(label, 7, 48).tobytes()


@pytest.mark.parametrize("label", LABELS)
def test_different_seeds_give_different_images(label: str) -> None:
    assert len({synthesize(label, seed, 32).tobytes() for seed in range(20)}) == 20


def test_different_labels_give_different_images() -> None:
    assert len({synthesize(label, 3, 32).tobytes() for label in LABELS}) == len(LABELS)


@pytest.mark.parametrize("size", [16, 17, 160, 192])
def test_an_image_is_rgb_with_the_requested_size(size: int) -> None:
    image = synthesize("koala", 0, size)
    assert (image.mode, image.size) == ("RGB", (size, size))


def test_the_default_size_is_192_px() -> None:
    assert synthesize("cat", 0).size == (192, 192)


def test_the_size_changes_the_resolution_but_not_the_scene() -> None:
    """Thumbnails of both sizes are similar; those of another seed differ."""

    def thumbnail(seed: int, size: int) -> NDArray[np.float64]:
        return np.asarray(synthesize("dog", seed, size).resize((8, 8)), dtype=float)

    same = np.abs(thumbnail(0, 96) - thumbnail(0, 192)).mean()
    other = np.abs(thumbnail(0, 96) - thumbnail(1, 192)).mean()
    assert same < 15 < other


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("seed", range(12))
def test_an_image_is_neither_flat_nor_nearly_black_or_white(label: str, seed: int) -> None:
    pixels = np.asarray(synthesize(label, seed, 48))
    assert pixels.std() > 10
    assert 20 < pixels.mean() < 245


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("seed", range(4))
def test_a_background_covers_the_whole_image_behind_every_animal(
    label: str, background: Callable[[Canvas, Colour], None], seed: int
) -> None:
    rng, side = np.random.default_rng(seed), 90
    style = Style(outline=0.0, line=(0, 0, 0))
    image = Image.new("RGB", (side, side), UNUSED_COLOUR)
    canvas = Canvas(
        ImageDraw.Draw(image), rng, style, side, complex(side / 2, side / 2), complex(side / 2)
    )
    background(canvas, random_palette(rng, label, style).fur)
    assert not (np.asarray(image) == UNUSED_COLOUR).all(axis=-1).any()


@pytest.mark.parametrize(
    ("label", "seed", "size", "text"),
    [
        ("wombat", 0, 192, "cannot synthesize 'wombat'; known labels are cat, dog, koala"),
        ("", 0, 192, "cannot synthesize ''"),
        ("cat", -1, 192, "seed is -1; the smallest value is 0"),
        ("cat", 0, 15, "size is 15 px; the smallest value is 16 px"),
        ("cat", 0, -192, "size is -192 px"),
    ],
)
def test_invalid_arguments_are_rejected(label: str, seed: int, size: int, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        synthesize(label, seed, size)


def test_a_folder_has_one_folder_per_class_and_one_png_per_seed(tmp_path: Path) -> None:
    count = write_folder(tmp_path / "new" / "data", 2, first_seed=99, size=32)
    files = sorted(p.relative_to(tmp_path / "new" / "data") for p in tmp_path.rglob("*.*"))
    assert count == len(files) == 6
    assert [str(file) for file in files] == [
        f"{label}/{label}-{seed}.png" for label in LABELS for seed in ("000099", "000100")
    ]


def test_a_file_has_the_image_of_its_label_and_seed(tmp_path: Path) -> None:
    write_folder(tmp_path, 1, first_seed=5, labels=["dog"], size=40)
    with Image.open(tmp_path / "dog" / "dog-000005.png") as image:
        assert image.tobytes() == synthesize("dog", 5, 40).tobytes()


def test_a_folder_can_have_a_subset_of_the_labels(tmp_path: Path) -> None:
    assert write_folder(tmp_path, 1, labels=["koala"], size=16) == 1
    assert [folder.name for folder in tmp_path.iterdir()] == ["koala"]


def test_zero_images_per_class_are_allowed(tmp_path: Path) -> None:
    assert write_folder(tmp_path, 0) == 0
    assert not list(tmp_path.rglob("*.png"))


def test_writing_again_replaces_the_files(tmp_path: Path) -> None:
    write_folder(tmp_path, 1, labels=["cat"], size=16)
    write_folder(tmp_path, 1, labels=["cat"], size=24)
    with Image.open(tmp_path / "cat" / "cat-000000.png") as image:
        assert image.size == (24, 24)


@pytest.mark.parametrize(
    ("per_class", "first_seed", "labels", "size", "text"),
    [
        (-1, 0, ["cat"], 16, "per_class is -1; the smallest value is 0"),
        (1, -3, ["cat"], 16, "seed is -3; the smallest value is 0"),
        (1, 0, ["cat", "wombat"], 16, "cannot synthesize 'wombat'"),
        (1, 0, ["cat"], 8, "size is 8 px"),
    ],
)
def test_invalid_arguments_are_rejected_before_anything_is_written(
    tmp_path: Path, per_class: int, first_seed: int, labels: list[str], size: int, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        write_folder(tmp_path, per_class, first_seed, labels, size)
    assert not list(tmp_path.iterdir())


def test_a_target_that_is_a_file_raises_os_error(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    target.write_bytes(b"")
    with pytest.raises(OSError, match="taken"):
        write_folder(target, 1, size=16)
