"""How many decimals a figure is shown with."""

from __future__ import annotations

import math


def shown_decimals(value: float, decimals: int, most: int, largest: float = math.inf) -> int:
    """`decimals`, or up to `most` if the value would have less than two significant digits.

    Args:
        largest: The largest possible value, near which values get as many decimals as near 0.
    """
    distance = min(abs(value), abs(largest - value))
    if 0 < distance < 9.5 * 10.0**-decimals:
        return min(most, 1 - math.floor(math.log10(distance)))
    return decimals
