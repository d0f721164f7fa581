"""Colours and styles of synthetic images."""

from dataclasses import dataclass

import numpy as np

from models.synthetic.randomness import pick

Colour = tuple[int, int, int]

BLACK, WHITE = (24, 22, 24), (252, 250, 246)
PINK, RED = (238, 150, 160), (226, 92, 104)

_FURS: dict[str, tuple[Colour, ...]] = {
    "cat": ((226, 142, 62), (142, 144, 150), (54, 52, 58), (236, 220, 192), (136, 98, 66),
            (244, 242, 238), (176, 164, 152), (196, 160, 116)),
    "dog": ((204, 154, 92), (122, 80, 50), (52, 48, 50), (242, 238, 230), (140, 142, 148),
            (228, 186, 112), (176, 96, 52), (178, 170, 160)),
    "koala": ((144, 146, 152), (164, 164, 168), (128, 134, 146), (176, 168, 160), (190, 188, 190),
              (158, 126, 98), (186, 154, 118)),
}  # fmt: skip
_PATTERNS = {
    "cat": ("stripes", "stripes", "patches", "plain"),
    "dog": ("stripes", "patches", "patches", "plain", "plain"),
    "koala": ("plain",),
}


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Linear blend of two colours; `share` (0 .. 1) is that of `other`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def lightness(colour: Colour) -> float:
    """Lightness from 0 (black) to 255 (white)."""
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


@dataclass(frozen=True)
class Style:
    """Style of the outlines."""

    outline: float  # width as a share of the image side; 0: no outline
    line: Colour
    pencil: bool = False


@dataclass(frozen=True)
class Palette:
    """Colours of one animal and the pattern of its fur."""

    fur: Colour
    shade: Colour
    light: Colour
    mark: Colour  # contrasts with the fur: whiskers, mouth
    eye: Colour
    pattern: str

    @property
    def body(self) -> Colour:
        """Fur of the body; differs from the head so that both are distinct without an outline."""
        return mix(self.fur, self.shade, 0.3)


def random_colour(rng: np.random.Generator, low: int = 60, high: int = 250) -> Colour:
    """Red, green and blue, each uniform in [low, high)."""
    red, green, blue = (int(part) for part in rng.integers(low, high, 3))
    return red, green, blue


def random_style(rng: np.random.Generator) -> Style:
    """Outlines in 50 % of the images, none in 30 %, pencil lines in 20 %."""
    line = pick(rng, ((20, 20, 24), (60, 40, 32), (44, 48, 70)))
    kind = rng.random()
    if kind < 0.5:
        return Style(rng.uniform(0.006, 0.016), line)
    if kind < 0.8:
        return Style(0.0, line)
    return Style(0.005, (50, 50, 54), pencil=True)


def random_palette(rng: np.random.Generator, label: str, style: Style) -> Palette:
    """Random colours for the animal `label`; paler in the pencil style."""
    fur = mix(pick(rng, _FURS[label]), random_colour(rng), rng.uniform(0, 0.12))
    if style.pencil:
        fur = mix(fur, WHITE, 0.5)
    dark = lightness(fur) < 80
    return Palette(
        fur=fur,
        shade=mix(fur, WHITE, 0.2) if dark else mix(fur, BLACK, rng.uniform(0.3, 0.5)),
        light=mix(fur, WHITE, rng.uniform(0.6, 0.8)),
        mark=WHITE if lightness(fur) < 100 else BLACK,
        eye=pick(rng, ((146, 190, 70), (236, 190, 60), (110, 180, 220), (210, 140, 50))),
        pattern=pick(rng, _PATTERNS[label]),
    )
