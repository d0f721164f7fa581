"""Poses: places the parts of a whole animal."""

from models.synthetic.animals import ANIMALS, Animal
from models.synthetic.canvas import Canvas, Point, smooth_curve
from models.synthetic.palette import BLACK, Palette
from models.synthetic.randomness import flip, pick


def _tail(c: Canvas, p: Palette, animal: Animal, x: float, y: float) -> None:
    if animal.tail:
        tail = c.frame(x, y, rotation=c.rng.uniform(-0.2, 0.35))
        tail.limb(smooth_curve(animal.tail, closed=False, steps=4), p.body, animal.tail_width)


def _collar(c: Canvas, animal: Animal, left: Point, right: Point) -> None:
    if animal.tail and flip(c.rng, 0.3):
        c.limb([left, right], pick(c.rng, ((200, 40, 50), (40, 90, 180), (50, 150, 90))), 0.1)


def _body_pattern(c: Canvas, p: Palette, rx: float, ry: float) -> None:
    """Fur pattern of a body with half axes `rx`, `ry` around the origin of the frame."""
    plain = c.without_outline()
    if p.pattern == "stripes":
        for x in (-0.5, -0.15, 0.2, 0.55):
            plain.stroke([(x * rx, -0.75 * ry), (x * rx * 1.1, -0.1 * ry)], p.shade, 0.06)
    elif p.pattern == "patches":
        plain.ellipse(0.35 * rx, -0.25 * ry, 0.42 * rx, 0.45 * ry, p.shade, rotation=0.2)
        plain.ellipse(-0.5 * rx, 0.2 * ry, 0.2 * rx, 0.28 * ry, p.shade)


def _sitting(c: Canvas, p: Palette, animal: Animal) -> None:
    girth, leg = animal.girth, animal.leg
    _tail(c, p, animal, girth * 0.9, 0.72)
    for side in (-1, 1):
        c.ellipse(side * girth * 0.85, 0.65, girth * 0.55, 0.3, p.body, rotation=side * 0.3)
    trunk = [(0, -0.45), (girth * 0.7, -0.2), (girth, 0.4), (girth * 0.8, 0.88),
             (-girth * 0.8, 0.88), (-girth, 0.4), (-girth * 0.7, -0.2)]  # fmt: skip
    c.polygon(smooth_curve(trunk), p.body)
    _body_pattern(c.frame(0, 0.4), p, girth, 0.4)
    if not animal.tail or flip(c.rng, 0.6):
        c.without_outline().ellipse(0, 0.15, girth * 0.6, 0.36, p.light)
    for side in (-1, 1):
        x = side * girth * 0.4
        if animal.tail:
            c.limb([(x, 0.25), (x, 0.88)], p.fur, leg)
        else:
            c.limb([(x * 2.1, 0.0), (x * 2.3, 0.3), (x * 0.9, 0.45)], p.fur, leg)
        c.ellipse(x * (1.1 if animal.tail else 2.2), 0.9, leg * 0.75, leg * 0.5, p.fur)
    _collar(c, animal, (-girth * 0.5, -0.18), (girth * 0.5, -0.18))
    animal.face(c.frame(0, -0.5, animal.head, c.rng.uniform(-0.15, 0.15)), p)


def _standing(c: Canvas, p: Palette, animal: Animal) -> None:
    girth, leg = animal.girth, animal.leg
    foot = 0.72 if animal.tail else 0.6
    _tail(c, p, animal, 0.6, -0.08)
    for x in (-0.32, 0.62):
        c.limb([(x, 0.15), (x + c.rng.uniform(-0.1, 0.1), foot - 0.04)], p.shade, leg)
    trunk = [(-0.68, -0.1), (-0.4, -girth * 0.65), (0.1, -girth * 0.6), (0.55, -girth * 0.75),
             (0.75, 0.1), (0.5, girth), (-0.1, girth * 0.8), (-0.5, girth * 0.9)]  # fmt: skip
    c.polygon(smooth_curve(trunk), p.body)
    _body_pattern(c.frame(0.1, 0.08), p, 0.6, girth)
    if not animal.tail:
        c.without_outline().ellipse(-0.38, girth * 0.55, 0.2, girth * 0.3, p.light)
    for x in (-0.46, 0.48):
        end = x + c.rng.uniform(-0.1, 0.1)
        c.limb([(x, 0.15), (end, foot), (end - leg * 0.5, foot)], p.fur, leg)
    _collar(c, animal, (-0.62, -0.02), (-0.42, -0.2))
    head = pick(c.rng, (animal.face, animal.profile))
    head(c.frame(-0.62, -0.42, animal.head * 0.9, c.rng.uniform(-0.12, 0.12)), p)


def _clinging(c: Canvas, p: Palette, animal: Animal) -> None:
    """Clinging to a tree trunk with arms and legs."""
    bark = pick(c.rng, ((122, 88, 60), (150, 128, 104), (104, 84, 72)))
    leaf = pick(c.rng, ((94, 140, 84), (120, 158, 110), (76, 118, 92)))
    c.limb([(0.42, -0.5), (1.1, -1.1), (1.6, -1.5)], bark, 0.14)
    for x, y in ((0.95, -0.75), (1.05, -1.2), (0.7, -1.0), (1.25, -0.9)):
        c.ellipse(x, y, 0.2, 0.07, leaf, rotation=c.rng.uniform(0.3, 1.8))
    c.limb([(0.42, -3), (0.42, 3)], bark, c.rng.uniform(0.28, 0.42))
    c.ellipse(-0.08, 0.3, animal.girth * 0.95, 0.58, p.body, rotation=0.12)
    c.without_outline().ellipse(0.06, 0.2, animal.girth * 0.55, 0.36, p.light, rotation=0.12)
    c.limb([(-0.2, 0.72), (0.2, 0.6), (0.56, 0.74)], p.fur, animal.leg * 1.1)
    c.limb([(-0.25, 0.05), (0.15, 0.22), (0.58, 0.02)], p.fur, animal.leg)
    for y in (0.74, 0.02):
        for step in (-0.05, 0.0, 0.05):
            c.stroke([(0.6, y + step), (0.68, y + step)], BLACK, 0.025)
    animal.face(c.frame(-0.14, -0.42, animal.head, c.rng.uniform(-0.2, 0.2)), p)


def draw_animal(c: Canvas, p: Palette, label: str) -> None:
    """Draw the animal in a random pose near the centre of the image."""
    rng, animal = c.rng, ANIMALS[label]
    poses = ["face", "sitting", "standing"]
    if label == "koala":
        poses.append("clinging")
    x, y, rotation = rng.uniform(-0.12, 0.12), rng.uniform(-0.1, 0.1), rng.uniform(-0.2, 0.2)
    match pick(rng, poses):
        case "face":
            animal.face(c.frame(x, y + 0.12, rng.uniform(0.48, 0.68), rotation), p)
        case "sitting":
            _sitting(c.frame(x, y, rng.uniform(0.7, 0.95), rotation / 2), p, animal)
        case "standing":
            _standing(c.frame(x + 0.05, y + 0.1, rng.uniform(0.72, 0.92), rotation / 2), p, animal)
        case _:
            _clinging(c.frame(x - 0.05, y, rng.uniform(0.75, 0.95), rotation), p, animal)
