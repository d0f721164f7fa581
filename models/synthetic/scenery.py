"""Backgrounds; each takes the fur colour, with which it should contrast."""

import math

import numpy as np

from models.synthetic.canvas import Canvas
from models.synthetic.palette import BLACK, WHITE, Colour, mix, random_colour
from models.synthetic.randomness import flip, pick


def _contrasting_colour(rng: np.random.Generator, fur: Colour) -> Colour:
    """The one of four random colours that differs most from the fur."""
    return max((random_colour(rng) for _ in range(4)), key=lambda colour: math.dist(colour, fur))


def _fill(c: Canvas, top: float, bottom: float, colour: Colour) -> None:
    """A band across the image, from height `top` to `bottom` (-1..1)."""
    c.polygon([(-1, top), (1, top), (1, bottom), (-1, bottom)], colour)


def _plain(c: Canvas, fur: Colour) -> None:
    _fill(c, -1, 1, _contrasting_colour(c.rng, fur))


def _gradient(c: Canvas, fur: Colour) -> None:
    above, below = _contrasting_colour(c.rng, fur), _contrasting_colour(c.rng, fur)
    bands = 32
    for band in range(bands):
        _fill(c, -1 + 2 * band / bands, 1, mix(above, below, band / bands))


def _room(c: Canvas, fur: Colour) -> None:
    wall = _contrasting_colour(c.rng, fur)
    floor = c.rng.uniform(0.2, 0.6)
    _fill(c, -1, floor, wall)
    _fill(c, floor, 1, _contrasting_colour(c.rng, fur))
    _fill(c, floor - 0.06, floor, mix(wall, WHITE, 0.6))
    if flip(c.rng, 0.6):
        x, pane = c.rng.uniform(-0.9, 0.4), random_colour(c.rng, 140)
        c.polygon([(x, -0.9), (x + 0.5, -0.9), (x + 0.5, -0.2), (x, -0.2)], mix(wall, BLACK, 0.4))
        c.polygon(
            [(x + 0.05, -0.85), (x + 0.45, -0.85), (x + 0.45, -0.25), (x + 0.05, -0.25)], pane
        )


def _meadow(c: Canvas, fur: Colour) -> None:
    rng = c.rng
    sky = pick(rng, ((150, 200, 240), (190, 220, 245), (240, 200, 170), (120, 170, 220)))
    grass = mix((100, 170, 70), random_colour(rng), 0.25)
    horizon = rng.uniform(-0.2, 0.5)
    _fill(c, -1, horizon, sky)
    _fill(c, horizon, 1, grass)
    for x, y in rng.uniform((-1, -0.9), (1, -0.4), (3, 2)).tolist():
        c.ellipse(x, y, 0.3, 0.08, mix(sky, WHITE, 0.7))
    for x, y in rng.uniform((-1, horizon + 0.1), (1, 1), (25, 2)).tolist():
        c.stroke([(x, y), (x + 0.02, y - 0.08)], mix(grass, BLACK, 0.25), 0.02)


def _forest(c: Canvas, fur: Colour) -> None:
    rng = c.rng
    green = mix((120, 165, 110), random_colour(rng), 0.3)
    _fill(c, -1, 1, mix(green, WHITE, 0.5))
    _fill(c, rng.uniform(0.4, 0.7), 1, green)
    for x in rng.uniform(-1, 1, 4).tolist():
        c.stroke([(x, -1.1), (x, 0.7)], mix((110, 84, 62), random_colour(rng), 0.2), 0.14)
    for x, y in rng.uniform((-1, -1), (1, -0.5), (9, 2)).tolist():
        c.ellipse(x, y, 0.3, 0.22, mix(green, random_colour(rng, 20, 120), 0.3))


def _blobs(c: Canvas, fur: Colour) -> None:
    _plain(c, fur)
    for x, y, size in c.rng.uniform((-1, -1, 0.1), (1, 1, 0.6), (10, 3)).tolist():
        c.ellipse(x, y, size, size * 0.7, _contrasting_colour(c.rng, fur), rotation=10 * size)


BACKGROUNDS = (_plain, _gradient, _room, _meadow, _forest, _blobs)
