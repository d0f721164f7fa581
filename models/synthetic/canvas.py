"""Drawing primitives in a rotated and scaled coordinate frame."""

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import ImageDraw

from models.synthetic.palette import Colour, Style, lightness

SUPERSAMPLING = 3  # drawn pixels per final pixel, in each direction

Point = tuple[float, float]


def smooth_curve(points: Sequence[Point], closed: bool = True, steps: int = 6) -> list[Point]:
    """A Catmull-Rom curve through the points, with `steps` points per segment."""
    ring = [complex(*point) for point in points]
    ring = [ring[-1], *ring, *ring[:2]] if closed else [ring[0], *ring, ring[-1]]
    curve = []
    for a, b, c, d in zip(ring, ring[1:], ring[2:], ring[3:], strict=False):
        for t in (step / steps for step in range(steps)):
            z = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
            curve.append((z.real, z.imag))
    return curve if closed else [*curve, points[-1]]


@dataclass(frozen=True)
class Canvas:
    """Draws in units of a rotated and scaled frame; x points right, y down."""

    pen: ImageDraw.ImageDraw
    rng: np.random.Generator
    style: Style
    side: int  # of the image, in pixels
    origin: complex
    unit: complex  # pixels per unit, times the rotation of the frame

    def frame(self, x: float, y: float, scale: float = 1.0, rotation: float = 0.0) -> "Canvas":
        """A frame with its origin at (x, y), scaled, and rotated clockwise by `rotation` rad."""
        origin = self.origin + complex(x, y) * self.unit
        return replace(self, origin=origin, unit=self.unit * cmath.rect(scale, rotation))

    def without_outline(self) -> "Canvas":
        """The same frame without outlines."""
        return replace(self, style=replace(self.style, outline=0.0))

    def ink_colour(self, colour: Colour) -> Colour:
        if not self.style.pencil:
            return colour
        grey = round(250 * (lightness(colour) / 255) ** 0.6)
        return grey, grey, max(grey - 8, 0)

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        spots = self._pixels(points)
        self.pen.polygon(spots, self.ink_colour(fill))
        width = self._outline()
        if not width:
            return
        for _ in range(2 if self.style.pencil else 1):
            path = self._wobble(spots)
            joint = "curve" if len(path) < 12 else None
            self.pen.line([*path, path[0], path[1]], self.ink_colour(self.style.line), width, joint)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, fill: Colour, rotation: float = 0.0
    ) -> None:
        angles = (math.tau * step / 32 for step in range(32))
        round_ = [(rx * math.cos(angle), ry * math.sin(angle)) for angle in angles]
        self.frame(x, y, rotation=rotation).polygon(round_, fill)

    def stroke(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """A line with round ends, `width` units and at least one final pixel wide."""
        self._brush(points, colour, max(abs(self.unit) * width, SUPERSAMPLING))

    def limb(self, points: Sequence[Point], fill: Colour, width: float) -> None:
        """A thick line with an outline, for legs, arms and tails."""
        pixels = abs(self.unit) * width
        if self._outline():
            self._brush(points, self.style.line, pixels + self._outline())
        self._brush(points, fill, pixels - self._outline())

    def _pixels(self, points: Sequence[Point]) -> list[Point]:
        spots = (self.origin + complex(x, y) * self.unit for x, y in points)
        return [(spot.real, spot.imag) for spot in spots]

    def _outline(self) -> int:
        return round(self.style.outline * self.side)

    def _wobble(self, spots: list[Point]) -> list[Point]:
        if not self.style.pencil:
            return spots
        moved = np.array(spots) + self.rng.normal(0, 0.003 * self.side, (len(spots), 2))
        return [(float(x), float(y)) for x, y in moved]

    def _brush(self, points: Sequence[Point], colour: Colour, pixels: float) -> None:
        spots, ink, half = self._pixels(points), self.ink_colour(colour), pixels / 2
        self.pen.line(spots, ink, round(pixels))
        for x, y in spots:
            self.pen.ellipse((x - half, y - half, x + half, y + half), ink)
