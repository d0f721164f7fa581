"""Heads and proportions of each animal."""

from collections.abc import Callable
from dataclasses import dataclass

from models.synthetic.canvas import Canvas, Point
from models.synthetic.faces import (
    cat_face,
    cat_profile,
    dog_face,
    dog_profile,
    koala_face,
    koala_profile,
)
from models.synthetic.palette import Palette

Part = Callable[[Canvas, Palette], None]


@dataclass(frozen=True)
class Animal:
    """Heads and proportions of an animal; lengths in body units (an animal is 2 high)."""

    face: Part
    profile: Part
    girth: float
    leg: float  # width
    tail: tuple[Point, ...]  # from the rump outwards
    tail_width: float
    head: float


ANIMALS = {
    "cat": Animal(cat_face, cat_profile, 0.34, 0.14,
                  ((0, 0), (0.3, 0.02), (0.45, -0.3), (0.36, -0.65), (0.5, -0.9)), 0.1, 0.42),
    "dog": Animal(dog_face, dog_profile, 0.38, 0.18,
                  ((0, 0), (0.2, -0.08), (0.34, -0.34)), 0.13, 0.45),
    "koala": Animal(koala_face, koala_profile, 0.48, 0.22, (), 0.0, 0.5),
}  # fmt: skip
