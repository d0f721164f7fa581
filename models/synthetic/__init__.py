"""Drawn cats, dogs and koalas, as many as wanted and the same in every run.

The images train and test the recogniser next to real photographs, and give a fresh clone
something to play with.  An image depends on its label, seed and size alone.

    palette     colours           animals     what sets one apart from another
    canvas      the frame         poses       whole animals
    faces       heads             scenery     backgrounds
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from models.synthetic.animals import ANIMALS
from models.synthetic.canvas import SUPERSAMPLING, Canvas
from models.synthetic.dice import chance, pick
from models.synthetic.palette import WHITE, random_palette, random_style
from models.synthetic.poses import put_animal
from models.synthetic.scenery import BACKGROUNDS

LABELS: tuple[str, ...] = tuple(ANIMALS)
"""The animals that can be drawn."""

_SMALLEST = 16  # px


def draw(label: str, seed: int, size: int = 192) -> Image.Image:
    """An RGB image, `size` x `size` pixels, of the animal `label`.

    Equal arguments give equal pixels; `seed` (0 or more) chooses pose, colours, style and
    background.  Raises ValueError for a label outside LABELS, a size under 16 or a negative seed.
    """
    _check(label, seed, size)
    rng = np.random.default_rng((LABELS.index(label), seed))
    side = size * SUPERSAMPLING
    image = Image.new("RGB", (side, side))
    style = random_style(rng)
    half = complex(side / 2, side / 2)
    canvas = Canvas(ImageDraw.Draw(image), rng, style, side, half, complex(side / 2))
    palette = random_palette(rng, label, style)
    pick(rng, BACKGROUNDS)(canvas.bare(), palette.fur)
    if style.pencil:
        image.paste(Image.blend(image, Image.new("RGB", image.size, WHITE), 0.6))
    put_animal(canvas, palette, label)
    if chance(rng, 0.5):
        image = ImageOps.mirror(image)
    return _photographed(image.reduce(SUPERSAMPLING), rng)


def write_folder(
    target: Path,
    per_class: int,
    first_seed: int = 0,
    labels: Sequence[str] = LABELS,
    size: int = 192,
) -> int:
    """Write `target/<label>/<label>-<seed>.png`, seed in six digits; return the number of files.

    Draws `per_class` (0 or more) images of each label, seeds counting up from `first_seed`,
    each `size` pixels wide and high.  Raises ValueError for a negative `per_class` and as `draw`
    does, before anything is written; OSError if it cannot write.
    """
    if per_class < 0:
        raise ValueError(f"per_class is {per_class}; ask for 0 or more images a class")
    for label in labels:
        _check(label, first_seed, size)
    for label in labels:
        folder = target / label
        folder.mkdir(parents=True, exist_ok=True)
        for seed in range(first_seed, first_seed + per_class):
            draw(label, seed, size).save(folder / f"{label}-{seed:06d}.png")
    return len(labels) * per_class


def _check(label: str, seed: int, size: int) -> None:
    if label not in LABELS:
        raise ValueError(f"cannot draw {label!r}; known labels are {', '.join(LABELS)}")
    if size < _SMALLEST:
        raise ValueError(f"size is {size} px; the smallest image is {_SMALLEST} px")
    if seed < 0:
        raise ValueError(f"seed is {seed}; seeds start at 0")


def _photographed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The image with a camera's mild blur, brightness and noise."""
    if chance(rng, 0.3):
        radius = image.width * rng.uniform(0.0015, 0.005)
        image = image.filter(ImageFilter.GaussianBlur(radius))
    pixels = np.asarray(image, dtype=np.float32) * np.float32(rng.uniform(0.8, 1.12))
    pixels += rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(0, 7))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
