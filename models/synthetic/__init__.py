"""Synthetic images of cats, dogs and koalas, reproducible from label, seed and size.

They train and test the classifier next to photographs, and give a fresh clone images to use.

    palette     colours               animals     proportions of each animal
    canvas      drawing primitives    poses       whole animals
    faces       heads                 scenery     backgrounds
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from models.synthetic.animals import ANIMALS
from models.synthetic.canvas import SUPERSAMPLING, Canvas
from models.synthetic.palette import WHITE, random_palette, random_style
from models.synthetic.poses import draw_animal
from models.synthetic.randomness import flip, pick
from models.synthetic.scenery import BACKGROUNDS

LABELS: tuple[str, ...] = tuple(ANIMALS)
"""Labels for which images can be synthesized."""

_MIN_SIZE = 16  # px


def synthesize(label: str, seed: int, size: int = 192) -> Image.Image:
    """Synthesize an RGB image of an animal; equal arguments give equal pixels.

    Args:
        label: One of `LABELS`.
        seed: Determines pose, colours, style and background; at least 0.
        size: Width and height, px; at least 16.

    Raises:
        ValueError: An argument is out of range.
    """
    _check(label, seed, size)
    rng = np.random.default_rng((LABELS.index(label), seed))
    side = size * SUPERSAMPLING
    image = Image.new("RGB", (side, side))
    style = random_style(rng)
    half = complex(side / 2, side / 2)
    canvas = Canvas(ImageDraw.Draw(image), rng, style, side, half, complex(side / 2))
    palette = random_palette(rng, label, style)
    pick(rng, BACKGROUNDS)(canvas.without_outline(), palette.fur)
    if style.pencil:
        image.paste(Image.blend(image, Image.new("RGB", image.size, WHITE), 0.6))
    draw_animal(canvas, palette, label)
    if flip(rng, 0.5):
        image = ImageOps.mirror(image)
    return _add_camera_effects(image.reduce(SUPERSAMPLING), rng)


def write_folder(
    target: Path,
    per_class: int,
    first_seed: int = 0,
    labels: Sequence[str] = LABELS,
    size: int = 192,
) -> int:
    """Write images to `target/<label>/<label>-<seed>.png`, with six digits of seed.

    Args:
        per_class: Images per label; at least 0.
        first_seed: Seed of the first image of each label; the following count up.
        labels, size: See `synthesize`.

    Returns:
        The number of files.

    Raises:
        ValueError: An argument is out of range; nothing was written.
        OSError: A file cannot be written.
    """
    if per_class < 0:
        raise ValueError(f"per_class is {per_class}; the smallest value is 0")
    for label in labels:
        _check(label, first_seed, size)
    for label in labels:
        folder = target / label
        folder.mkdir(parents=True, exist_ok=True)
        for seed in range(first_seed, first_seed + per_class):
            synthesize(label, seed, size).save(folder / f"{label}-{seed:06d}.png")
    return len(labels) * per_class


def _check(label: str, seed: int, size: int) -> None:
    if label not in LABELS:
        raise ValueError(f"cannot synthesize {label!r}; known labels are {', '.join(LABELS)}")
    if size < _MIN_SIZE:
        raise ValueError(f"size is {size} px; the smallest value is {_MIN_SIZE} px")
    if seed < 0:
        raise ValueError(f"seed is {seed}; the smallest value is 0")


def _add_camera_effects(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Add mild blur, brightness change and noise, as a camera does."""
    if flip(rng, 0.3):
        radius = image.width * rng.uniform(0.0015, 0.005)
        image = image.filter(ImageFilter.GaussianBlur(radius))
    pixels = np.asarray(image, dtype=np.float32) * np.float32(rng.uniform(0.8, 1.12))
    pixels += rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(0, 7))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
