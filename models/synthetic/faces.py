"""Heads seen from the front and, facing left, from the side; a head is 2 units wide."""

import math

from models.synthetic.canvas import Canvas, smooth_curve
from models.synthetic.palette import BLACK, PINK, RED, WHITE, Colour, Palette, lightness, mix
from models.synthetic.randomness import flip, pick


def _eye(c: Canvas, x: float, y: float, radius: float, colour: Colour, slit: bool) -> None:
    c.ellipse(x, y, radius, radius * 1.1, colour)
    plain = c.without_outline()
    plain.ellipse(x, y, radius * (0.28 if slit else 0.65), radius * (0.95 if slit else 0.7), BLACK)
    plain.ellipse(x + radius * 0.25, y - radius * 0.4, radius * 0.2, radius * 0.2, WHITE)


def _smile(c: Canvas, p: Palette, y: float, width: float, on: Colour) -> None:
    """A mouth: two arcs at the end of a line under the nose."""
    colour = BLACK if lightness(on) > 90 else p.mark
    for side in (-1, 1):
        arc = [(0, y), (side * width * 0.5, y + width * 0.4), (side * width, y + width * 0.1)]
        c.stroke([(0, y - 0.15), *smooth_curve(arc, closed=False)], colour, 0.045)


def _face_pattern(c: Canvas, p: Palette) -> None:
    plain = c.without_outline()
    if p.pattern == "stripes":
        for x in (-0.25, 0.0, 0.25):
            plain.polygon([(x - 0.07, -0.74), (x + 0.07, -0.74), (x * 0.7, -0.38)], p.shade)
        for side in (-1, 1):
            for y in (0.1, 0.3):
                plain.polygon([(side * 0.77, y - 0.06), (side * 0.75, y + 0.06), (side * 0.5, y)],
                           p.shade)  # fmt: skip
    elif p.pattern == "patches":
        plain.ellipse(0.38, -0.18, 0.36, 0.4, p.shade, rotation=0.3)


def _whiskers(c: Canvas, p: Palette, x: float, side: int) -> None:
    for slope in (-0.2, 0.0, 0.2):
        c.stroke([(x, 0.36 + slope / 3), (x + side * 0.95, 0.32 + slope * 1.6)], p.mark, 0.03)


def cat_face(c: Canvas, p: Palette) -> None:
    rng = c.rng
    tip, height = rng.uniform(0.65, 0.95), rng.uniform(1.3, 1.6)
    for side in (-1, 1):
        c.polygon([(side * 0.96, -0.2), (side * 0.2, -0.75), (side * tip, -height)], p.fur)
        inner = [(side * 0.85, -0.4), (side * 0.4, -0.72), (side * tip, 0.2 - height)]
        c.without_outline().polygon(inner, mix(p.fur, PINK, 0.6))
    c.ellipse(0, 0, 1, rng.uniform(0.78, 0.9), p.fur)
    _face_pattern(c, p)
    if flip(rng, 0.5):
        for side in (-1, 1):
            c.without_outline().ellipse(side * 0.2, 0.46, 0.26, 0.2, p.light)
    slit, size = flip(rng, 0.6), rng.uniform(0.18, 0.26)
    for side in (-1, 1):
        _eye(c, side * 0.42, -0.1, size, p.eye, slit)
        _whiskers(c, p, side * 0.35, side)
    nose = PINK if lightness(p.fur) < 110 else pick(rng, (PINK, RED, (90, 60, 60)))
    c.polygon([(-0.13, 0.2), (0.13, 0.2), (0, 0.36)], nose)
    _smile(c, p, 0.46, 0.24, p.fur)


def _dog_muzzle(c: Canvas, p: Palette) -> Colour:
    dark = lightness(p.fur) < 100
    return p.light if dark else pick(c.rng, (p.light, p.light, mix(p.fur, WHITE, 0.25)))


def dog_face(c: Canvas, p: Palette) -> None:
    rng = c.rng
    ear, muzzle = pick(rng, (p.shade, p.shade, p.fur)), _dog_muzzle(c, p)
    # with stripes and pointed ears it would look like a cat
    folded = p.pattern != "stripes" and flip(rng, 0.25)
    length = rng.uniform(0.62, 0.85)
    white, size = flip(rng, 0.5) or lightness(p.fur) < 100, rng.uniform(0.13, 0.17)
    eye = WHITE if white else (92, 58, 34)
    c.ellipse(0, 0, rng.uniform(0.84, 0.95), 0.92, p.fur)
    _face_pattern(c, p)
    for side in (-1, 1):
        if folded:
            c.polygon([(side * 0.3, -0.75), (side * 0.38, -1.0), (side * 0.95, -1.05),
                     (side * 0.85, -0.4)], p.fur)  # fmt: skip
            c.polygon([(side * 0.36, -1.03), (side * 0.97, -1.07), (side * 0.95, -0.35)], ear)
        else:
            flap = [(0.5, -0.85), (0.95, -0.75), (1.25, length - 0.35), (1.12, length),
                    (0.85, length - 0.15), (0.75, -0.2)]  # fmt: skip
            c.polygon(smooth_curve([(side * x, y) for x, y in flap]), ear)
        _eye(c, side * 0.34, -0.2, size, eye, slit=False)
    if flip(rng, 0.5):
        c.ellipse(0, 1.0, 0.17, 0.3, RED)
    c.ellipse(0, 0.55, 0.5, 0.48, muzzle)
    _dog_nose(c, 0, 0.32, 0.26)
    _smile(c, p, 0.72, 0.3, muzzle)


def _dog_nose(c: Canvas, x: float, y: float, radius: float) -> None:
    c.ellipse(x, y, radius, radius * 0.72, BLACK)
    c.frame(x, y, radius).without_outline().ellipse(-0.2, -0.3, 0.3, 0.15, (150, 146, 150))


def _koala_ear(c: Canvas, p: Palette, x: float, y: float, radius: float) -> None:
    tufts = c.rng.uniform(0.9, 1.1, 28)
    angles = (math.tau * step / len(tufts) for step in range(len(tufts)))
    edge = [(float(r) * math.cos(a), float(r) * math.sin(a))
            for r, a in zip(tufts, angles, strict=True)]  # fmt: skip
    c.frame(x, y, radius).polygon(edge, p.fur)
    inner = mix(p.light, PINK, float(c.rng.uniform(0, 0.4)))
    c.frame(x, y + radius * 0.12, radius * 0.62).without_outline().polygon(edge, inner)


def _koala_nose(c: Canvas, x: float, y: float) -> None:
    spoon = [(0, -0.36), (0.15, -0.2), (0.22, 0.12), (0.13, 0.33), (-0.13, 0.33), (-0.22, 0.12),
             (-0.15, -0.2)]  # fmt: skip
    c.frame(x, y, c.rng.uniform(1.0, 1.2)).polygon(smooth_curve(spoon), (48, 42, 48))
    c.without_outline().ellipse(x - 0.07, y - 0.12, 0.04, 0.12, (122, 116, 122))


def koala_face(c: Canvas, p: Palette) -> None:
    rng = c.rng
    eye = rng.uniform(0.08, 0.12)
    radius, x, y = rng.uniform(0.52, 0.68), rng.uniform(0.92, 1.05), rng.uniform(-0.55, -0.35)
    for side in (-1, 1):
        _koala_ear(c, p, side * x, y, radius)
    c.ellipse(0, 0, 1, rng.uniform(0.82, 0.95), p.fur)
    c.without_outline().ellipse(0, 0.6, 0.36, 0.2, p.light)
    for side in (-1, 1):
        _eye(c, side * 0.46, -0.12, eye, (70, 46, 32), slit=False)
    _koala_nose(c, 0, 0.14)
    _smile(c, p, 0.64, 0.2, p.light)


def cat_profile(c: Canvas, p: Palette) -> None:
    for x in (-0.3, 0.25):
        c.polygon([(x - 0.3, -0.5), (x + 0.3, -0.55), (x + 0.1, -1.3)], p.fur)
        inner = [(x - 0.15, -0.6), (x + 0.15, -0.6), (x + 0.06, -1.1)]
        c.without_outline().polygon(inner, mix(p.fur, PINK, 0.6))
    skull = [(0.8, 0.0), (0.5, -0.62), (-0.15, -0.78), (-0.65, -0.5), (-0.82, -0.1), (-1.02, 0.12),
             (-0.95, 0.38), (-0.5, 0.62), (0.3, 0.65)]  # fmt: skip
    c.polygon(smooth_curve(skull), p.fur)
    _eye(c, -0.45, -0.15, 0.19, p.eye, slit=True)
    c.polygon([(-1.08, 0.05), (-0.85, 0.05), (-1.0, 0.22)], PINK)
    c.stroke([(-0.93, 0.34), (-0.75, 0.38), (-0.6, 0.32)], p.mark, 0.045)
    _whiskers(c, p, -0.65, 1)
    _whiskers(c, p, -0.85, -1)


def dog_profile(c: Canvas, p: Palette) -> None:
    if flip(c.rng, 0.5):
        c.ellipse(-0.95, 0.6, 0.15, 0.32, RED)
    skull = [(0.75, -0.2), (0.45, -0.72), (-0.1, -0.8), (-0.5, -0.45), (-0.85, -0.2), (-1.4, -0.12),
             (-1.54, 0.14), (-1.35, 0.42), (-0.6, 0.55), (0, 0.68), (0.6, 0.5)]  # fmt: skip
    c.polygon(smooth_curve(skull), p.fur)
    c.without_outline().ellipse(-1.1, 0.14, 0.38, 0.24, _dog_muzzle(c, p))
    _eye(c, -0.32, -0.3, 0.15, WHITE, slit=False)
    _dog_nose(c, -1.46, -0.02, 0.22)
    c.stroke([(-1.4, 0.27), (-1.0, 0.34), (-0.65, 0.28)], BLACK, 0.045)
    c.ellipse(0.38, 0.1, 0.28, c.rng.uniform(0.55, 0.7), p.shade, rotation=-0.2)


def koala_profile(c: Canvas, p: Palette) -> None:
    _koala_ear(c, p, -0.35, -0.7, 0.45)
    c.ellipse(0, 0, 0.95, 0.85, p.fur)
    c.without_outline().ellipse(-0.6, 0.48, 0.28, 0.22, p.light)
    _eye(c, -0.42, -0.16, 0.11, (70, 46, 32), slit=False)
    _koala_nose(c, -0.84, 0.12)
    c.stroke([(-0.8, 0.58), (-0.6, 0.6), (-0.48, 0.54)], BLACK, 0.045)
    _koala_ear(c, p, 0.5, -0.45, 0.6)
