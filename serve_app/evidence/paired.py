"""Two versions on the same images: who is right where they disagree?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from serve_app.evidence.confidence import ALPHA, Rate, log_evidence, rate


@dataclass(frozen=True, slots=True)
class Paired:
    """Attributes:
    share: Of the images on which exactly one was right, those on which the candidate was.
    p: That they are equally often right; always valid, a look after every review is free.
    better: Which one is, if p is below alpha.
    """

    share: Rate
    p: float
    better: Literal["stable", "candidate"] | None


def paired(only_stable: int, only_candidate: int, alpha: float = ALPHA) -> Paired:
    """Judge reviewed disagreements; those on which both were wrong tell nothing.

    McNemar's question, answered by the martingale of `log_evidence`: evidence against a share of
    one half. `better` is given if and only if the interval of the share excludes one half.

    What was reviewed must have been drawn at random from the disagreements, or all of them.

    Args:
        only_stable, only_candidate: Images on which it alone was right.
    """
    share = rate(only_candidate, only_stable + only_candidate, alpha)
    p = min(1.0, math.exp(-log_evidence(only_candidate, only_stable + only_candidate, 0.5)))
    better: Literal["stable", "candidate"] | None = None
    if p < alpha:
        better = "candidate" if only_candidate > only_stable else "stable"
    return Paired(share, p, better)
